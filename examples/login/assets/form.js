// A number pasted with its + sets the country. The server understands it without this as well.
(() => {
  "use strict";
  const phone = document.getElementById("phone");
  const country = document.getElementById("country_code");
  if (phone && country) {
    const codes = [...country.options].filter((o) => /^\d+$/.test(o.value)).sort((a, b) => b.value.length - a.value.length);
    phone.addEventListener("input", () => {
      const digits = phone.value.trim().replace(/^00/, "+").replace(/[^\d+]/g, "");
      const found = digits.startsWith("+") && codes.find((o) => digits.startsWith("+" + o.value));
      if (found) country.value = found.value;
    });
  }
  document.getElementById("problems")?.focus();
  const text = (id) => document.getElementById(id).textContent.trim();
  document.querySelectorAll(".only-script").forEach((e) => { e.hidden = false; });
  document.querySelectorAll("[data-download]").forEach((button) => button.addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text(button.dataset.download) + "\n"], { type: "text/plain" }));
    link.download = button.dataset.name;
    link.click();
    URL.revokeObjectURL(link.href);
  }));
  document.querySelectorAll("[data-print]").forEach((button) => button.addEventListener("click", () => print()));
  document.querySelectorAll("[data-copy]").forEach((button) => {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text(button.dataset.copy));
      button.textContent = button.dataset.copied;
    });
  });
})();
