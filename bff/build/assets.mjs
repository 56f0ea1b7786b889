/* `npm run build`: makes ams_bff/static/ of ams_bff/assets/ and the npm packages. Every file is minified, named by
   its content and packed beside; manifest.json tells which name became which. */
import { mkdir, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const built = "ams_bff/static";
/* Made beside and moved at the end: a build that fails leaves the last one as it was. */
const fresh = `${built}.new`;
const icons = JSON.parse(await readFile("build/icons.json", "utf8"));

async function symbol(name) {
  const svg = await readFile(`node_modules/lucide-static/icons/${name}.svg`, "utf8");
  const shapes = svg.match(/<svg[^>]*>(.*)<\/svg>/s)[1].replace(/\s*\n\s*/g, "");
  return `<symbol id="${name}" viewBox="0 0 24 24">${shapes}</symbol>`;
}

await rm(fresh, { recursive: true, force: true });
await mkdir(fresh);
const symbols = (await Promise.all(icons.map(symbol))).join("");
await writeFile(`${fresh}/icons.svg`, `<svg xmlns="http://www.w3.org/2000/svg">${symbols}</svg>`);

const output = { outdir: fresh, entryNames: "[name].[hash]", assetNames: "[name].[hash]", minify: true };
/* Not bundled: that would put each script into a function, and pages need the globals htmx and uPlot. */
await build({
  ...output,
  entryPoints: {
    chart: "ams_bff/assets/chart.js",
    htmx: "htmx.org/dist/htmx.min.js",
    live: "ams_bff/assets/live.js",
    palette: "ams_bff/assets/palette.js",
    passkeys: "ams_bff/assets/passkeys.js",
    ui: "ams_bff/assets/ui.js",
    uplot: "uplot/dist/uPlot.iife.min.js",
  },
});
await build({
  ...output,
  bundle: true,
  loader: { ".svg": "copy", ".woff2": "file" },
  entryPoints: { icons: `${fresh}/icons.svg`, mark: "ams_bff/assets/mark.svg", ui: "ams_bff/assets/ui.css" },
});
await rm(`${fresh}/icons.svg`);

const manifest = {};
for (const file of (await readdir(fresh)).sort()) {
  manifest[file.replace(/\.[A-Z0-9]{8}(?=\.\w+$)/, "")] = file;
  const body = await readFile(`${fresh}/${file}`);
  const packed = gzipSync(body, { level: 9 });
  if (packed.length < body.length * 0.9) await writeFile(`${fresh}/${file}.gz`, packed);
}
await writeFile(`${fresh}/manifest.json`, JSON.stringify(manifest, null, 1));
await rm(built, { recursive: true, force: true });
await rename(fresh, built);
