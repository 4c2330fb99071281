import assert from "node:assert/strict";
import { test } from "node:test";
import { keywords } from "./keywords.js";

// What goes in, how many words are wanted, what comes out.
const CASES = {
  "counts words, most frequent first": ["cotton hats, cotton scarf, cotton hats", 5, ["cotton", "hats", "scarf"]],
  "orders equal counts by the alphabet": ["wool silk linen", 5, ["linen", "silk", "wool"]],
  "keeps only the limit": ["wool silk linen", 2, ["linen", "silk"]],
  "ignores case": ["Wool WOOL wool silk", 5, ["wool", "silk"]],
  "drops short words, numbers and stop words": ["red 2024 with about wool xl90", 5, ["wool", "xl90"]],
  "a tag separates words": ["<p>wool</p><b class='linen'>silk</b>", 5, ["silk", "wool"]],
  "an unclosed tag reaches to the end": ["wool <b silk linen", 5, ["wool"]],
  "an entity separates words": ["wool&nbsp;silk&#8211;linen", 5, ["linen", "silk", "wool"]],
  "what is too long for an entity is text": ["&cottonwool; &cottonwools;", 5, ["cottonwool", "cottonwools"]],
  "an ampersand alone is text": ["wool & silk &; linen&", 5, ["linen", "silk", "wool"]],
  "letters of other alphabets": ["ÜNÏCÖDÉ Straße ΣΊΣΥΦΟΣ шёлк", 5, ["straße", "ünïcödé", "σίσυφος", "шёлк"]],
  "words of other scripts": ["羊毛羊毛 ١٢wool²silk 羊毛羊毛", 5, ["羊毛羊毛", "silk", "wool"]],
  "length counts characters, not bytes": ["äöü äöüß 𝒶𝒷𝒸 𝒶𝒷𝒸𝒹", 5, ["äöüß", "𝒶𝒷𝒸𝒹"]],
  "order is by code point": ["𝒶𝒷𝒸𝒹 ﬀﬀﬀﬀ", 5, ["ﬀﬀﬀﬀ", "𝒶𝒷𝒸𝒹"]],
  "a prefix comes first": ["cottons cotton", 5, ["cotton", "cottons"]],
  "members of objects are words": ["constructor prototype constructor", 5, ["constructor", "prototype"]],
  "an empty text": ["", 5, []],
  "no text": [null, 5, []],
  "an absent field": [undefined, 5, []],
  "something else": [{ wool: "wool" }, 5, []],
};

for (const [name, [html, limit, expected]] of Object.entries(CASES)) {
  test(name, () => assert.deepEqual(keywords(html, limit), expected));
}
