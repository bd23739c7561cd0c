//! The description of the API: `/openapi.json`, and `/docs` for people. Nothing is loaded from another host.

use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, openapi};
use utoipa_swagger_ui::SwaggerUi;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Uptake",
        description = "Is enterprise software really used after go-live? Every rate comes with its numerator and denominator, \
            groups that are too small are suppressed, and every answer says how far its data can be trusted.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    security((), ("token" = [])),
    modifiers(&BearerToken)
)]
pub struct Description;

struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, description: &mut openapi::OpenApi) {
        let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        description
            .components
            .get_or_insert_default()
            .add_security_scheme("token", bearer);
    }
}

/// `/docs` and `/openapi.json`.
pub fn pages(description: openapi::OpenApi) -> SwaggerUi {
    SwaggerUi::new("/docs").url("/openapi.json", description)
}
