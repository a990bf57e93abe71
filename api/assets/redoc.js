// Starts Redoc. This is a separate file because the page's content security policy allows no inline scripts.
Redoc.init("openapi.json", {}, document.getElementById("redoc"));
