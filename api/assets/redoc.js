// Starts Redoc. In a file of its own, since the page's policy lets no script run that is in the page.
Redoc.init("openapi.json", {}, document.getElementById("redoc"));
