// Starts Swagger UI. In a file of its own, since the page's policy lets no script run that is in the page.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  // The document is checked by the project's tests, and sent to nobody.
  validatorUrl: null,
});
