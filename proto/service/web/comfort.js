// Comfort for pages that work without it: a form is sent once, and the summary of faults is where a reader begins.
"use strict";

for (const form of document.querySelectorAll('form[method="post"]')) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "1";
    // A lost line brings no page: after a while it may be sent again. What is sent twice is done once.
    setTimeout(() => delete form.dataset.sent, 5000);
  });
}
// A page that comes back from the browser's memory may send its form again.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
  }
});

document.querySelector(".faults")?.focus();
