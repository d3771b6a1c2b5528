// Numbers and values as people read them.

const whole = new Intl.NumberFormat("en");

export const count = (n: number) => whole.format(n);

export const plural = (n: number, one: string, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

export function number(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e9) return whole.format(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(2);
  return value.toFixed(size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 3);
}

export const percent = (part: number, whole: number) => (whole === 0 ? "–" : `${((100 * part) / whole).toFixed(part > 0 && part / whole < 0.1 ? 1 : 0)} %`);

/** Labels of classes may be empty or only blanks; a name nobody can see is worse than a made-up one. */
export const className = (classes: string[] | null, index: number) => {
  if (index < 0) return "no value";
  const name = classes?.[index];
  return name === undefined ? `class ${index}` : name.trim() === "" ? `(empty, class ${index})` : name;
};

/** Names of tables end with an id that makes them unique; people need it seldom. */
export const plainName = (name: string) => name.replace(/-[0-7][0-9A-HJKMNP-TV-Z]{25}$/, "");

export function value(raw: unknown): string {
  if (raw === null || raw === undefined) return "–";
  if (typeof raw === "number") return number(raw);
  if (typeof raw === "boolean") return raw ? "yes" : "no";
  return typeof raw === "string" ? raw : JSON.stringify(raw);
}

export const shellQuote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
/** Quoted only where it must be. */
export const shellWord = (text: string) => (/^[\w.][\w.-]*$/.test(text) ? text : shellQuote(text));
