// What the exercises' page keeps in this browser: one entry for each exercise, under a prefix, because all the pages of a
// host share one storage.
//
//   {source, starter, hints, tries, status, before}    starter: the hash of the file that the draft began from;
//                                                      before: the draft that a reset put away
export const PREFIX = "minilora:exercise:";
const unkept = new Map(); // entries that the browser did not take: its storage is full, or turned off

export function saved(name) {
  if (unkept.has(name)) return unkept.get(name);
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name)) ?? {};
  } catch {
    return {};
  }
}

// Adds to an exercise's entry. False if the browser does not keep it, so that it is lost with the page.
export function save(name, part) {
  const entry = { ...saved(name), ...part };
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(entry));
    unkept.delete(name);
    return true;
  } catch {
    unkept.set(name, entry);
    return false;
  }
}

// All entries, as one object that `restore` takes.
export function everything(names) {
  return { minilora: 1, exercises: Object.fromEntries(names.map((name) => [name, saved(name)])) };
}

// Puts exported entries back. Throws if it is not such an object.
export function restore(exported, names) {
  const entries = exported?.minilora === 1 ? exported.exercises : undefined;
  const known = names.filter((name) => typeof entries?.[name] === "object");
  if (!known.length) throw new Error("this is not a file that “Export” wrote");
  for (const name of known) save(name, entries[name]);
  return known.length;
}
