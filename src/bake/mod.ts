/**
 * Bake files: HCL, JSON and Compose become targets, each of which is one build. No build and no engine:
 * who has the targets asks for them. Reference: https://docs.docker.com/build/bake/reference/
 */
export {
  type Bake,
  chooseTargets,
  defaultFiles,
  neededBy,
  printed,
  readModel,
  type SourceFile,
} from "./bake.ts";
export { parseEnvironment } from "./compose.ts";
export type { Model, Variable } from "./model.ts";
export type { Target } from "./target.ts";
