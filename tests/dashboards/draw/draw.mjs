// Draws every dashboard into a picture: node draw.mjs <dashboards> <rows.json> <chromium> <folder for the pictures>

import { createServer } from 'node:http';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';
import UPNG from 'upng-js';

const [dashboards, rowsFile, executablePath, pictures] = process.argv.slice(2);
const here = dirname(fileURLToPath(import.meta.url));
const icons = join(here, 'node_modules/@grafana/ui/dist/public');
const rows = JSON.parse(readFileSync(rowsFile));

const commonJs = (name) => join(here, `node_modules/@grafana/${name}/dist/cjs/index.cjs`);
const bundle = await build({
  entryPoints: [join(here, 'page.jsx')],
  outdir: '/bundle',
  bundle: true,
  write: false,
  jsx: 'automatic',
  // Their ES modules import CommonJS packages in a way that only other bundlers understand.
  alias: { '@grafana/data': commonJs('data'), '@grafana/ui': commonJs('ui') },
  loader: { '.ttf': 'dataurl', '.woff': 'dataurl', '.woff2': 'dataurl', '.svg': 'dataurl', '.png': 'dataurl' },
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
  logLevel: 'error',
});
const files = Object.fromEntries(bundle.outputFiles.map(({ path, contents }) => [`/${basename(path)}`, contents]));
files['/'] = '<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="/page.css"><body><script src="/page.js"></script>';
const types = { js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' };

const server = createServer((request, response) => {
  const path = new URL(request.url, 'http://localhost').pathname;
  const icon = path.match(/\/img\/icons\/[\w/-]+\.svg$/);
  const body = icon ? readFileSync(join(icons, icon[0])) : files[path];
  response.writeHead(body ? 200 : 404, { 'Content-Type': types[path.split('.').pop()] ?? 'text/html' });
  response.end(body);
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));

const profile = mkdtempSync(join(tmpdir(), 'uptake-draw-'));
const context = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  viewport: { width: 1560, height: 1200 },
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const wrong = [];
const emptyPanels = (titles) => titles.filter((title) => !document.querySelector(`[data-panel="${title}"]`)?.innerText.replace(title, '').trim());
try {
  for (const file of readdirSync(dashboards).filter((name) => name.endsWith('.json')).sort()) {
    const name = basename(file, '.json');
    const page = await context.newPage();
    page.on('pageerror', (error) => wrong.push(`${name}: ${error.stack}`));
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    const dashboard = JSON.parse(readFileSync(join(dashboards, file)));
    await page.evaluate(([d, fetched]) => window.draw(d, fetched), [dashboard, rows[name]]);
    await page.waitForLoadState('networkidle');
    await page.waitForTimeout(500);
    wrong.push(...(await page.evaluate(emptyPanels, dashboard.panels.map(({ title }) => title))).map((title) => `${name}: the panel ${title} is empty`));
    if (!wrong.length) {
      const drawn = UPNG.decode(await page.locator('#dashboard').screenshot());
      // 128 colours: a quarter of the size, and no difference that one sees.
      const small = UPNG.encode(UPNG.toRGBA8(drawn), drawn.width, drawn.height, 128);
      writeFileSync(join(pictures, `dashboard-${name}.png`), Buffer.from(small));
    }
    await page.close();
  }
} finally {
  await context.close();
  server.close();
  rmSync(profile, { recursive: true, force: true });
}
if (wrong.length) {
  console.error(`dashboards: drawing failed\n  ${wrong.join('\n  ')}`);
  process.exit(1);
}
