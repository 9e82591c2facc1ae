// A page of rows alone has no map, and so no slider.
const slider = document.getElementById("round");
const lines = document.querySelectorAll("#map .message");
function show() {
  const round = Number(slider.value);
  document.getElementById("round-name").textContent = round < 0 ? "all rounds" : "round " + (round + 1);
  for (const line of lines) {
    line.classList.toggle("off", round >= 0 && Number(line.dataset.round) !== round);
    line.classList.toggle("on", round >= 0 && Number(line.dataset.round) === round);
  }
}
if (slider) slider.addEventListener("input", show);
function unfold() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target && target.tagName === "DETAILS") target.open = true;
}
addEventListener("hashchange", unfold);
unfold();
