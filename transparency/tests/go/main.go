// Answers questions about notes, proofs and tiles with Go's packages golang.org/x/mod/sumdb/note and tlog.
//
// Each line of standard input is one question: a command and its arguments, separated by spaces. Texts and hashes
// are in base64. Each answer is one line: `ok`, a space and a result, or `refused`, a space and the reason.
//
//	open VKEY NOTE                         the text of the note
//	sign SKEY TEXT                         the note
//	generate NAME                          a signing key and its verifier key
//	cosigned NAME PUBLIC-KEY NOTE          the text of a note with a cosignature/v1
//	record INDEX LEAF SIZE ROOT PROOF…     nothing
//	tree OLD OLD-ROOT SIZE ROOT PROOF…     nothing
//	prove-record DIR INDEX SIZE ROOT       the proof that Go makes from the tiles in DIR
//	prove-tree DIR OLD SIZE ROOT           the proof that Go makes from the tiles in DIR
//	hash DIR SIZE ROOT                     the leaf hashes that Go reads from the tiles in DIR
//	path LEVEL INDEX WIDTH                 the path of a tile
package main

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// height of the tiles of C2SP, which Go's package leaves open.
const height = 8

func main() {
	out := bufio.NewWriter(os.Stdout)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		result, err := answer(strings.Fields(lines.Text()))
		if err != nil {
			fmt.Fprintln(out, "refused", strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Fprintln(out, "ok", result)
		}
		out.Flush()
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func answer(words []string) (result string, err error) {
	// Go's tlog panics on some invalid arguments.
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("panic: %v", reason)
		}
	}()
	a := &arguments{words: words[1:]}
	switch words[0] {
	case "open":
		verifier, err := note.NewVerifier(a.word())
		if err != nil {
			return "", err
		}
		return open(a.bytes(), verifier)
	case "sign":
		signer, err := note.NewSigner(a.word())
		if err != nil {
			return "", err
		}
		signed, err := note.Sign(&note.Note{Text: string(a.bytes())}, signer)
		return encode(signed), err
	case "generate":
		signing, verifying, err := note.GenerateKey(rand.Reader, a.word())
		return signing + " " + verifying, err
	case "cosigned":
		verifier := cosigner{name: a.word(), key: a.bytes()}
		return open(a.bytes(), verifier)
	case "record":
		index, leaf, size, root := a.number(), a.hash(), a.number(), a.hash()
		return "", a.check(tlog.CheckRecord(a.proof(), size, root, index, leaf))
	case "tree":
		old, oldRoot, size, root := a.number(), a.hash(), a.number(), a.hash()
		return "", a.check(tlog.CheckTree(a.proof(), size, root, old, oldRoot))
	case "prove-record":
		dir, index, tree := a.word(), a.number(), a.tree()
		proof, err := tlog.ProveRecord(tree.N, index, tlog.TileHashReader(tree, files(dir)))
		return join(proof), a.check(err)
	case "prove-tree":
		dir, old, tree := a.word(), a.number(), a.tree()
		proof, err := tlog.ProveTree(tree.N, old, tlog.TileHashReader(tree, files(dir)))
		return join(proof), a.check(err)
	case "hash":
		dir, tree := a.word(), a.tree()
		indexes := make([]int64, tree.N)
		for n := range indexes {
			indexes[n] = tlog.StoredHashIndex(0, int64(n))
		}
		hashes, err := tlog.TileHashReader(tree, files(dir)).ReadHashes(indexes)
		return join(hashes), a.check(err)
	case "path":
		level, index, width := a.number(), a.number(), a.number()
		return path(tlog.Tile{H: height, L: int(level), N: index, W: int(width)}), a.err
	}
	return "", fmt.Errorf("unknown command %s", words[0])
}

func open(signed []byte, verifier note.Verifier) (string, error) {
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return "", err
	}
	return encode([]byte(opened.Text)), nil
}

// cosigner verifies cosignature/v1 as c2sp.org/tlog-cosignature defines it.
type cosigner struct {
	name string
	key  ed25519.PublicKey
}

func (c cosigner) Name() string { return c.name }

func (c cosigner) KeyHash() uint32 {
	sum := sha256.Sum256(append([]byte(c.name+"\n\x04"), c.key...))
	return binary.BigEndian.Uint32(sum[:])
}

func (c cosigner) Verify(text, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(sig), text)
	return ed25519.Verify(c.key, []byte(message), sig[8:])
}

// files reads tiles from a directory.
type files string

func (dir files) Height() int { return height }

func (dir files) SaveTiles([]tlog.Tile, [][]byte) {}

func (dir files) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var contents [][]byte
	for _, tile := range tiles {
		content, err := os.ReadFile(filepath.Join(string(dir), path(tile)))
		if err != nil {
			return nil, err
		}
		contents = append(contents, content)
	}
	return contents, nil
}

// path is the path of c2sp.org/tlog-tiles: Go's path without the height.
func path(tile tlog.Tile) string {
	return strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", height), "tile/", 1)
}

// arguments are read one after the other. The first error is kept.
type arguments struct {
	words []string
	err   error
}

func (a *arguments) check(err error) error {
	if a.err != nil {
		return a.err
	}
	return err
}

func (a *arguments) word() string {
	if len(a.words) == 0 {
		a.err = fmt.Errorf("an argument is missing")
		return ""
	}
	word := a.words[0]
	a.words = a.words[1:]
	return word
}

func (a *arguments) number() int64 {
	number, err := strconv.ParseInt(a.word(), 10, 64)
	a.err = a.check(err)
	return number
}

func (a *arguments) bytes() []byte {
	bytes, err := base64.StdEncoding.DecodeString(a.word())
	a.err = a.check(err)
	return bytes
}

func (a *arguments) hash() tlog.Hash {
	hash, err := tlog.ParseHash(a.word())
	a.err = a.check(err)
	return hash
}

func (a *arguments) tree() tlog.Tree {
	return tlog.Tree{N: a.number(), Hash: a.hash()}
}

func (a *arguments) proof() []tlog.Hash {
	var proof []tlog.Hash
	for len(a.words) > 0 {
		proof = append(proof, a.hash())
	}
	return proof
}

func encode(bytes []byte) string { return base64.StdEncoding.EncodeToString(bytes) }

func join(hashes []tlog.Hash) string {
	var words []string
	for _, hash := range hashes {
		words = append(words, hash.String())
	}
	return strings.Join(words, " ")
}
