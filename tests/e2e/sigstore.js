// Checks signed checkpoints and inclusion proofs with sigstore's @sigstore/verify, for tests/e2e/sigstore.rs.
// The argument is the folder of scripts/install. The standard input is a JSON object with the key of the log
// and a list of cases. The output is a list with the size of the log, or null, of each case.
const { createPublicKey } = require("crypto");
const { readFileSync } = require("fs");
const { join } = require("path");

const part = (name) => require(join(process.argv[2], "node_modules/@sigstore/verify/dist/tlog", name));
const { verifyCheckpoint } = part("checkpoint.js");
const { verifyMerkleInclusion } = part("merkle.js");

const { key, cases } = JSON.parse(readFileSync(0, "utf8"));
const bytes = (base64) => Buffer.from(base64, "base64");
const x = bytes(key.public).toString("base64url");
const log = {
  logID: Buffer.from(key.id, "hex"),
  baseURL: `https://${key.name}`,
  publicKey: createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" }),
};
const size = ({ note, index, path, entry }) => {
  const checkpoint = { envelope: bytes(note).toString("utf8") };
  const inclusionProof = { logIndex: index, hashes: path.map(bytes), checkpoint };
  const submitted = { canonicalizedBody: bytes(entry), inclusionProof };
  try {
    const checked = verifyCheckpoint(submitted, [log]);
    verifyMerkleInclusion(submitted, checked);
    return checked.logSize.toString();
  } catch (error) {
    // A size that is not a number is a SyntaxError. Any other error is a fault of this script.
    if (error.code !== "TLOG_INCLUSION_PROOF_ERROR" && !(error instanceof SyntaxError)) throw error;
    return null;
  }
};
console.log(JSON.stringify(cases.map(size)));
