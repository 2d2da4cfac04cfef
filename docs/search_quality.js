// Print the pages that the search of built documentation finds: node search_quality.js BUILD < queries.json
// It runs Sphinx's own scripts of that build, as a browser would, and returns one list of pages for each query, the best page first.
"use strict";

const { readFileSync } = require("fs");
const path = require("path");
const vm = require("vm");

const build = process.argv[2];
const element = { children: [], addEventListener() {}, querySelectorAll: () => [] };
const page = vm.createContext({
  console,
  localStorage: { setItem() {}, getItem: () => null },
  document: { getElementById: () => element, querySelectorAll: () => [], addEventListener() {}, documentElement: { dataset: {} } },
  SPHINX_HIGHLIGHT_ENABLED: false,
  URLSearchParams,
  _ready() {},
  _: (text) => text,
});
page.window = page;
for (const script of ["_static/searchtools.js", "_static/language_data.js", "searchindex.js"]) {
  vm.runInContext(readFileSync(path.join(build, script), "utf8"), page, { filename: script });
}
page.queries = JSON.parse(readFileSync(0, "utf8"));
const found = vm.runInContext(
  "queries.map((query) => Search._performSearch(...Search._parseQuery(query)).reverse().map((result) => result[0]))",
  page,
);
console.log(JSON.stringify(found.map((pages) => [...new Set(pages)])));
