// Validates ScaledObjects against KEDA's own schema: check-keda.mjs TOOLS DOCUMENTS.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

const [tools, documents] = process.argv.slice(2);
const schemas = resolve(tools, "node_modules/@kubernetes-models/keda/_schemas");
const { validate } = await import(`${schemas}/ComGithubKedacoreKedaV2ApisKedaV1alpha1ScaledObject.js`);
for (const document of JSON.parse(readFileSync(documents, "utf8"))) {
  if (!validate(document)) {
    console.error(`ScaledObject ${document.metadata.name}:`, validate.errors);
    process.exit(1);
  }
}
