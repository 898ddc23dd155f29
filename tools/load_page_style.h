// The style sheet of LoadPage: the system's fonts, light or dark as the reader's system is. The
// contrasts of text are at least 4.5 to 1, those of lines 3 to 1 (WCAG 2.1, AA).
#ifndef SLUICE_TOOLS_LOAD_PAGE_STYLE_H_
#define SLUICE_TOOLS_LOAD_PAGE_STYLE_H_

#include "absl/strings/string_view.h"

namespace sluice::tools {

inline constexpr absl::string_view kLoadPageStyle = R"css(
:root {
  --page: #f6f7f9; --card: #ffffff; --text: #1b2330; --soft: #5a6576; --edge: #dfe3e9;
  --grid: #e6e9ee; --axis: #7b8696; --c0: #1f6fd6; --c1: #b4491a; --fill: #4b8fe3;
  --warn-text: #6b3b00; --warn: #fff3dc; --warn-edge: #d08a1d;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161c; --card: #1a2028; --text: #e7ebf1; --soft: #a3aebd; --edge: #2c343f;
    --grid: #29313b; --axis: #76818f; --c0: #6ab0ff; --c1: #ff9b66; --fill: #3f7fcb;
    --warn-text: #ffd999; --warn: #33270f; --warn-edge: #b5811f;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 1080px; margin: 0 auto; padding: 48px 24px 72px; }
h1 { margin: 0; font-size: 1.75rem; line-height: 1.25; overflow-wrap: anywhere; }
header p { margin: 8px 0 0; color: var(--soft); overflow-wrap: anywhere; }
h2 { margin: 0 0 12px; font-size: 1.0625rem; }
dl {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 16px;
  margin: 32px 0;
}
dl div, figure, section {
  background: var(--card); border: 1px solid var(--edge); border-radius: 12px;
}
dl div { padding: 16px 20px; }
dt { color: var(--soft); font-size: 0.875rem; }
dd { margin: 2px 0 0; font-size: 1.5rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.warning {
  margin: 0 0 16px; padding: 12px 20px; border-radius: 12px; overflow-wrap: anywhere;
  color: var(--warn-text); background: var(--warn); border: 1px solid var(--warn-edge);
}
.pictures {
  display: grid; gap: 24px; margin: 32px 0 24px;
  grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr));
}
.tables { columns: 320px; column-gap: 24px; }
figure { margin: 0; padding: 20px 20px 16px; min-width: 0; }
figcaption { margin: 0 0 12px; font-size: 1.0625rem; font-weight: 600; }
section { margin: 0 0 24px; padding: 20px 24px 16px; break-inside: avoid; }
table { width: 100%; border-collapse: collapse; font-size: 0.9375rem; }
th, td { padding: 7px 0; border-top: 1px solid var(--grid); vertical-align: top; }
tr:first-child th, tr:first-child td { border-top: 0; }
th { padding-right: 16px; text-align: left; font-weight: 400; color: var(--soft); }
td { text-align: right; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
td.short { white-space: nowrap; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { fill: var(--soft); font-size: 14px; font-variant-numeric: tabular-nums; }
svg .unit { font-size: 13px; }
.grid { stroke: var(--grid); stroke-width: 1; }
.axis { stroke: var(--axis); stroke-width: 1; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.line.c0 { stroke: var(--c0); }
.line.c1 { stroke: var(--c1); }
.dashed { stroke-dasharray: 6 5; }
.bars { fill: var(--fill); }
@media (max-width: 480px) {
  main { padding: 28px 12px 48px; }
  h1 { font-size: 1.375rem; }
  dl { gap: 12px; grid-template-columns: repeat(2, 1fr); margin: 24px 0; }
  dl div { padding: 12px 14px; }
  dd { font-size: 1.25rem; }
  figure { padding: 16px 8px 12px; }
  figcaption { padding: 0 8px; }
  section { padding: 16px; }
}
@media print {
  body { background: none; }
  figure, dl div { break-inside: avoid; }
}
)css";

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_LOAD_PAGE_STYLE_H_
