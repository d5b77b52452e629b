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
  document.querySelectorAll("[data-copy]").forEach((button) => {
    if (!navigator.clipboard) return;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
      button.textContent = button.dataset.copied;
    });
  });
})();
