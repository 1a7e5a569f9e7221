// Lint of the stored procedures. They are scripts, not modules: `src/schema/procedures.rs` splices each
// procedure behind the library parts its header names under `Uses:` and puts "use strict" in front.

import { readFileSync, readdirSync } from "node:fs";
import js from "@eslint/js";

const LIBRARY = new URL("sprocs/lib/", import.meta.url);

/** Comments, which mention names without using them. */
const COMMENT = /\/\*[^]*?\*\/|\/\/.*/g;

/** A top-level declaration: its JSDoc, if any, `async` and the name. */
const DECLARATION = /^(\/\*\*(?:(?!\*\/)[^])*\*\/\n)?(async )?(?:function|const) (\w+)/gm;

/** Every top-level name of the library: the part it lies in, the words it uses, whether it gives a promise. */
const library = new Map();
for (const file of readdirSync(LIBRARY)) {
  const text = readFileSync(new URL(file, LIBRARY), "utf8");
  const found = [...text.matchAll(DECLARATION)];
  found.forEach(({ index, 1: doc = "", 2: async, 3: name }, at) => {
    library.set(name, {
      part: file.replace(/\.js$/, ""),
      words: words(text.slice(index, found[at + 1]?.index)),
      promise: async !== undefined || doc.includes("@returns {Promise")
    });
  });
}

/** The identifiers in a piece of source, other than properties. */
function words(text) {
  return new Set(text.replace(COMMENT, "").match(/(?<![\w$.])[A-Za-z_$][\w$]*/g));
}

/** The library parts a procedure reaches, directly or through other library functions. */
function partsReached(source) {
  // The splicing adds `run(<procedure>, argument)`.
  const reached = new Set(["run"]);
  for (const word of words(source)) {
    reached.add(word);
  }
  // A set grows while it is walked: this ends when nothing new is found.
  for (const name of reached) {
    library.get(name)?.words.forEach((word) => reached.add(word));
  }
  return new Set([...reached].filter((name) => library.has(name)).map((name) => library.get(name).part));
}

/** `Uses:` in a procedure's header names exactly the library parts it reaches; one missing fails only when run. */
const uses = {
  create(context) {
    return {
      Program() {
        const source = context.sourceCode.getText();
        const header = /^ \* Uses: +(.*)$/m.exec(source);
        const named = new Set(header ? header[1].split(",").map((part) => part.trim()) : []);
        const reached = partsReached(source);
        const loc = context.sourceCode.getLocFromIndex(header ? header.index : 0);
        for (const part of reached) {
          if (!named.has(part)) {
            context.report({ loc, message: `the header must name '${part}' under Uses:` });
          }
        }
        for (const part of named) {
          if (!reached.has(part)) {
            context.report({ loc, message: `the header names '${part}' under Uses: for nothing` });
          }
        }
      }
    };
  }
};

const promises = [...library].filter(([, entry]) => entry.promise).map(([name]) => name);

export default [
  js.configs.recommended,
  {
    files: ["sprocs/**/*.js"],
    languageOptions: {
      // What the server's engine understands without doubt.
      ecmaVersion: 2017,
      sourceType: "script",
      parserOptions: { ecmaFeatures: { impliedStrict: true } },
      globals: {
        __: "readonly",
        ErrorCodes: "readonly",
        getContext: "readonly",
        ...Object.fromEntries([...library.keys()].map((name) => [name, "readonly"]))
      }
    },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      eqeqeq: "error",
      "no-console": "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      // Each file defines some of the shared names; that none is defined twice is for tsc to see.
      "no-redeclare": ["error", { builtinGlobals: false }],
      "no-restricted-globals": [
        "error",
        ...["fetch", "module", "process", "require", "setInterval", "setTimeout"].map((name) => ({
          name,
          message: "The server has no such thing."
        }))
      ],
      "no-restricted-syntax": [
        "error",
        {
          selector: `ExpressionStatement > CallExpression[callee.name=/^(${promises.join("|")})$/]`,
          message: "Await it: the error of a promise that nobody awaits is lost, and what was written commits."
        }
      ],
      // Top-level functions are used by other files.
      "no-unused-vars": ["error", { vars: "local" }],
      "no-var": "error",
      "prefer-const": "error"
    }
  },
  {
    files: ["sprocs/*.js"],
    plugins: { sprocs: { rules: { uses } } },
    rules: { "sprocs/uses": "error" }
  }
];
