// Applies the chosen color scheme before the page is drawn, so that it does not flash in the other scheme. This
// is a classic script because modules run after the first drawing.
{
  const scheme = localStorage.getItem("console.scheme");
  if (scheme) document.documentElement.dataset.scheme = scheme;
}
