// Finds the words that a product description uses most. Knows nothing of plugins, so plain `node --test` can test it.

// Short words are dropped anyway; these are the longer ones that say nothing about a product.
const STOP_WORDS = new Set(
  `about above after again against also although always another because been before being below between both came
  come could does doing down during each even ever every from further have having here hers herself himself into
  itself just like made make many might more most much must myself never only other ours over same should since some
  such than that their theirs them themselves then there these they this those through under until very want well
  were what when where which while whom will with within without would your yours yourself`.split(/\s+/),
);

const TAG = /<[^>]*>?/g; // A tag that is never closed reaches to the end.
const ENTITY = /&[0-9A-Za-z#]{0,9};/g; // `&nbsp;`, `&#8211;`
const WORD = /[\p{Alphabetic}0-9]+/gu;
const LONG_ENOUGH = /^(?![0-9]+$).{4}/u; // At least four characters, and not a number.

/** The `limit` most frequent words of an HTML text, the most frequent first. */
export function keywords(html, limit) {
  if (typeof html !== "string") return [];
  const text = html.replace(TAG, " ").replace(ENTITY, " ").toLowerCase();
  const counts = new Map();
  for (const word of text.match(WORD) ?? []) {
    if (LONG_ENOUGH.test(word) && !STOP_WORDS.has(word)) counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return [...counts]
    .sort(([a, times], [b, otherTimes]) => otherTimes - times || compare(a, b))
    .slice(0, limit)
    .map(([word]) => word);
}

// The order of code points. `<` would compare UTF-16 units, which differs for rare characters.
function compare(a, b) {
  const [left, right] = [[...a], [...b]];
  const at = left.findIndex((char, index) => char !== right[index]);
  if (at < 0) return left.length - right.length;
  return left[at].codePointAt(0) - (right[at]?.codePointAt(0) ?? -1);
}
