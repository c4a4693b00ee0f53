/** The syntax of HCL as a tree. https://github.com/hashicorp/hcl/blob/main/hclsyntax/spec.md */

/** A place in a file, for messages. */
export interface Place {
  readonly file: string;
  readonly line: number;
}

export type Expression = Place &
  (
    | { readonly kind: "literal"; readonly value: string | number | boolean | null }
    | { readonly kind: "template"; readonly parts: readonly TemplatePart[] }
    | { readonly kind: "variable"; readonly name: string }
    | { readonly kind: "index"; readonly on: Expression; readonly key: Expression }
    | { readonly kind: "splat"; readonly on: Expression; readonly keys: readonly Expression[] }
    | {
        readonly kind: "call";
        readonly name: string;
        readonly args: readonly Expression[];
        /** The last argument is a list of them. */
        readonly isSpread: boolean;
      }
    | { readonly kind: "unary"; readonly operator: string; readonly operand: Expression }
    | {
        readonly kind: "binary";
        readonly operator: string;
        readonly left: Expression;
        readonly right: Expression;
      }
    | {
        readonly kind: "conditional";
        readonly test: Expression;
        readonly yes: Expression;
        readonly no: Expression;
      }
    | { readonly kind: "list"; readonly items: readonly Expression[] }
    | {
        readonly kind: "object";
        readonly items: readonly (readonly [key: Expression, value: Expression])[];
      }
    | ForExpression
  );

export interface ForExpression {
  readonly kind: "for";
  readonly keyName: string | undefined;
  readonly valueName: string;
  readonly over: Expression;
  /** Undefined: a list is made. */
  readonly key: Expression | undefined;
  readonly value: Expression;
  readonly when: Expression | undefined;
  /** Values with equal keys become lists. */
  readonly isGrouped: boolean;
}

export type TemplatePart =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "value"; readonly value: Expression }
  | {
      readonly kind: "if";
      readonly test: Expression;
      readonly yes: readonly TemplatePart[];
      readonly no: readonly TemplatePart[];
    }
  | {
      readonly kind: "for";
      readonly keyName: string | undefined;
      readonly valueName: string;
      readonly over: Expression;
      readonly body: readonly TemplatePart[];
    };

export interface Block extends Place {
  readonly type: string;
  readonly labels: readonly string[];
  readonly body: Body;
}

export interface Body {
  readonly attributes: ReadonlyMap<string, Expression>;
  readonly blocks: readonly Block[];
}
