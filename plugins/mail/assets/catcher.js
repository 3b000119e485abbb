// Deletes on a click, and looks every few seconds whether a mail has come in. The page works without it, except deleting.
for (const button of document.querySelectorAll("[data-delete]")) {
  button.addEventListener("click", async () => {
    const { delete: address, then, ask } = button.dataset;
    if (ask && !confirm(ask)) return;
    const answer = await fetch(address, { method: "DELETE" });
    if (answer.ok || answer.status === 404) location.assign(then);
    else alert("That did not work: " + answer.status);
  });
}

const count = document.querySelector("[data-watch]");
if (count) {
  setInterval(async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch("/api/v2/messages?limit=0");
      const { total } = await answer.json();
      if (answer.ok && String(total) !== count.dataset.total) location.reload();
    } catch {
      // The host is away; the next look will tell.
    }
  }, 3000);
}
