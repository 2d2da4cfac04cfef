// Rank the pages that Sphinx's search finds. Sphinx shows only pages that have every word, and gives a page the score of its best word.
// Here a page has the sum over the words: a rare word counts more, and so does one in the page's title or in a heading. A page that lacks
// a word stays in the list, further down. Sphinx puts this file into language_data.js (html_search_scorer).

var Scorer = {
  score: ([, title, anchor, , score, , kind]) => {
    if (kind === "text") return score;
    if (kind === "object") return score >= 20 ? 60 : 2; // the name itself, or a part of it
    return anchor === "" ? 100 : 4 * score; // the query is in a title, or in a heading
  },
  objNameMatch: 11,
  objPartialMatch: 3,
  objPrio: { 0: 15, 1: 10, 2: 5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};

// What a word counts by its place, and what a heading counts that has several words of the query.
const WEIGHTS = { title: 4, heading: 1.9, text: 1, synonym: 0.5, sections: 2, titles: 1.5, phrase: 1.5, missing: 1.5, long: 0.4 };

// Pages that have many words, and are seldom what a reader looks for.
const SELDOM = { asvs: 0.8, "benchmark-figures": 0.6, benchmarks: 0.8, changelog: 0.6, contributing: 0.6 };

/** Return what the ranking needs of the index: where each word is. */
const searchPlaces = (index) => {
  const stemmer = new Stemmer();
  const stems = (text) => new Set(splitQuery(text.toLowerCase()).map((word) => stemmer.stemWord(word)));
  const phrase = (text) => ` ${splitQuery(text.toLowerCase()).join(" ")} `;
  const pages = index.docnames.map((name, page) => ({ title: stems(index.titles[page]), phrases: [], sections: [], length: 0 }));
  for (const [text, places] of Object.entries(index.alltitles)) {
    for (const [page, id] of places) {
      pages[page].phrases.push(phrase(text));
      if (id !== null) pages[page].sections.push({ id, text, words: stems(text) });
    }
  }
  for (const files of Object.values(index.terms)) for (const file of [files].flat()) pages[file].length += 1;
  const groups = SYNONYMS.map((group) => stems(group));
  const same = (word) => new Set(groups.filter((group) => group.has(word)).flatMap((group) => [...group]));
  return { pages, same, ignored: stems(QUESTION_WORDS) };
};

/** Return the weight of a word in each page that has it. */
const searchWord = (index, pages, word) => {
  const found = new Map();
  const add = (files, weight) => {
    for (const file of [files].flat()) found.set(file, Math.max(found.get(file) ?? 0, weight));
  };
  const own = (table, key) => (Object.hasOwn(table, key) ? table[key] : undefined);
  for (const [table, weight] of [[index.terms, WEIGHTS.text], [index.titleterms, WEIGHTS.heading]]) {
    if (own(table, word) !== undefined) add(table[word], weight);
  }
  if (!found.size && word.length > 3) {
    for (const [table, weight] of [[index.terms, WEIGHTS.text], [index.titleterms, WEIGHTS.heading]]) {
      for (const key of Object.keys(table)) if (key.includes(word)) add(table[key], weight / 2);
    }
  }
  for (const file of found.keys()) if (pages[file].title.has(word)) found.set(file, WEIGHTS.title);
  return found;
};

/** Return the results of a search in the text and the headings, as Sphinx's function of this name does. */
const searchTerms = (index, places, words, excluded) => {
  const { pages, same, ignored } = places;
  const length = pages.reduce((sum, page) => sum + page.length, 0) / pages.length;
  let terms = [...words].filter((word) => !ignored.has(word));
  if (!terms.length) terms = [...words];
  const scores = pages.map(() => 0);
  const covered = pages.map(() => 0);
  let whole = 0;
  const sections = pages.map((page) => page.sections.map(() => 0));
  const heads = pages.map(() => 0);
  for (const term of terms) {
    const found = searchWord(index, pages, term);
    const exact = new Set(found.keys());
    const weight = Math.log(1 + pages.length / (found.size + 4)) + 0.5;
    for (const other of same(term)) {
      if (other === term) continue;
      for (const [file, value] of searchWord(index, pages, other)) {
        const less = WEIGHTS.synonym * value;
        if (less > (found.get(file) ?? 0)) found.set(file, less);
      }
    }
    if (!found.size) continue;
    whole += weight;
    for (const [file, value] of found) {
      const size = exact.has(file) || value > 1 ? 1 : 0.8;
      const long = value > WEIGHTS.text ? 1 : Math.min(1, (length / pages[file].length) ** WEIGHTS.long);
      scores[file] += weight * value * long;
      covered[file] += weight * size;
      const inHeading = (heading) => {
        if (heading.has(term)) return weight;
        return [...same(term)].some((word) => heading.has(word)) ? WEIGHTS.synonym * weight : 0;
      };
      heads[file] += inHeading(pages[file].title);
      pages[file].sections.forEach((section, number) => (sections[file][number] += inHeading(section.words)));
    }
  }
  const without = new Set([...excluded].flatMap((word) => [...searchWord(index, pages, word).keys()]));
  const asked = splitQuery.words.length > 1 ? ` ${splitQuery.words.join(" ").toLowerCase()} ` : "  ";
  const results = [];
  pages.forEach((page, file) => {
    if (covered[file] < 0.35 * whole || without.has(file) || !whole) return;
    const best = Math.max(0, ...sections[file]);
    const phrase = page.phrases.some((text) => text.includes(asked)) ? WEIGHTS.phrase : 0;
    const section = best > 0.6 * whole ? page.sections[sections[file].indexOf(best)] : undefined;
    const inTitle = terms.every((term) => page.title.has(term));
    const heading = Math.max(WEIGHTS.titles * heads[file], best);
    const score = ((scores[file] + WEIGHTS.sections * heading) / whole + phrase) * (covered[file] / whole) ** WEIGHTS.missing * (SELDOM[index.docnames[file]] ?? 1);
    const title = index.titles[file];
    results.push([
      index.docnames[file],
      section && !inTitle ? `${title} > ${section.text}` : title,
      section && !inTitle ? `#${section.id}` : "",
      null,
      Math.round(1000 * score) / 60,
      index.filenames[file],
      "text",
    ]);
  });
  const best = Math.max(...results.map((result) => result[4]));
  return results.filter((result) => result[4] > best / 10);
};

/** Return the first paragraph of a page or a section, which says what it is about. */
const firstParagraph = (html, anchor) => {
  const page = new DOMParser().parseFromString(html, "text/html");
  const section = page.querySelector(`[role=main] ${anchor ? `[id="${anchor.slice(1)}"]` : ""}`);
  const paragraph = section?.querySelector("p");
  if (!paragraph) return null;
  const shown = document.createElement("p");
  shown.className = "context";
  shown.textContent = paragraph.textContent;
  return shown;
};

/** Let Sphinx's search rank pages like this. The search calls it at each query, when all scripts are there. */
const rankPages = () => {
  Search.places = {}; // splitQuery calls this function once
  Search.places = searchPlaces(Search._index);
  const summary = Search.makeSearchSummary;
  Search.makeSearchSummary = (html, words, anchor) => firstParagraph(html, anchor) ?? summary(html, words, anchor);
  Search.performTermsSearch = (words, excluded) => searchTerms(Search._index, Search.places, words, excluded);
};
