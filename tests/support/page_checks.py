"""What every page must pass, whatever it shows: read in the browser, at the width it has now."""

from pathlib import Path

from playwright.sync_api import Page

_HERE = Path(__file__).parent
_LAYOUT = (_HERE / "page_checks.js").read_text().rstrip().removesuffix(";")
_AXE = (_HERE.parents[1] / "bff/node_modules/axe-core/axe.min.js").read_text()
_RUN_AXE = """async (options) => {
  const tell = (rule) => (node) =>
    `${rule.id}: ${node.html.slice(0, 160)} (${node.failureSummary.split("\\n")[1]?.trim()})`;
  return (await axe.run(document, options)).violations.flatMap((rule) => rule.nodes.map(tell(rule)));
}"""
# The nodes of rules that are kept needn't be told.
_FAULTS_ONLY = {"resultTypes": ["violations"]}
# What draws itself anew after a change of width has done so.
_SETTLE = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def layout_faults(page: Page) -> list[str]:
    """Sideways scrolling, what sticks out or is cut off, what is too small to hit (40 px for fingers)."""
    page.evaluate(_SETTLE)
    return [str(fault) for fault in page.evaluate(_LAYOUT)]


def accessibility_faults(page: Page) -> list[str]:
    """What axe-core finds."""
    page.evaluate(_AXE)
    return [str(fault) for fault in page.evaluate(_RUN_AXE, _FAULTS_ONLY)]


def contrast_faults(page: Page) -> list[str]:
    """What axe-core, which has been here, finds of the colours."""
    return [str(fault) for fault in page.evaluate(_RUN_AXE, _FAULTS_ONLY | {"runOnly": ["color-contrast"]})]
