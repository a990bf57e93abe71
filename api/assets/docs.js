// Starts Swagger UI. This is a separate file because the page's content security policy allows no inline scripts.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  // The project's tests validate the document, so it is not sent to an online validator.
  validatorUrl: null,
});
