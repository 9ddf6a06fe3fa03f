package domain_test

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	module     = "hearth"
	moduleRoot = ".."
)

// goPackage is what this test reads of go list -json.
type goPackage struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func listPackages(t *testing.T) (packages []goPackage) {
	t.Helper()
	list := exec.Command("go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	list.Dir = moduleRoot
	var stderr strings.Builder
	list.Stderr = &stderr
	out, err := list.Output()
	require.NoError(t, err, "go list: %s", &stderr)
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		packages = append(packages, p)
	}
}

// topOf is the top folder of a package of this module: "transport" of "hearth/transport/wire".
func topOf(importPath string) (top string, ours bool) {
	rest, ours := strings.CutPrefix(importPath, module+"/")
	top, _, _ = strings.Cut(rest, "/")
	return top, ours
}

// mayImport is the picture of DESIGN.md §1: who may import whom, besides himself.
var mayImport = map[string][]string{
	"domain":    nil,
	"transport": {"domain"},
	"redisrepo": {"domain"},
	"mysqlrepo": {"domain"},
	"jobs":      {"domain"},
	"configs":   {"domain"},
	"cmd":       {"domain", "transport", "redisrepo", "mysqlrepo", "jobs", "configs"},
}

func TestImportsFollowThePicture(t *testing.T) {
	t.Parallel()
	for _, p := range listPackages(t) {
		top, _ := topOf(p.ImportPath)
		allowed, known := mayImport[top]
		require.True(t, known, "%s is in no known folder", p.ImportPath)
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			other, ours := topOf(imported)
			if ours && other != top && !slices.Contains(allowed, other) {
				t.Errorf("%s imports %s; %s may import %q only", p.ImportPath, imported, top, allowed)
			}
		}
		for _, imported := range p.Imports {
			if imported == module+"/domain/testserver" {
				t.Errorf("%s imports %s outside its tests", p.ImportPath, imported)
			}
			first, _, _ := strings.Cut(imported, "/")
			if _, ours := topOf(imported); top == "domain" && !ours && strings.Contains(first, ".") {
				t.Errorf("%s imports %s; the domain imports the standard library only", p.ImportPath, imported)
			}
		}
	}
}

func TestTopLevelHoldsOnlyWhatBelongsThere(t *testing.T) {
	t.Parallel()
	allowed := []string{
		"cmd", "domain", "redisrepo", "mysqlrepo", "transport", "jobs", "configs",
		"go.mod", "go.sum", "Dockerfile", "README.md", "Makefile", "LICENSE", "CHANGELOG.md",
	}
	entries, err := os.ReadDir(moduleRoot)
	require.NoError(t, err)
	// What .gitignore names as "/bin/" is built here, not kept here: make must not fail make test.
	ignored, err := os.ReadFile(filepath.Join(moduleRoot, ".gitignore"))
	require.NoError(t, err)
	for line := range strings.Lines(string(ignored)) {
		if name := strings.TrimSpace(line); strings.HasPrefix(name, "/") {
			allowed = append(allowed, strings.Trim(name, "/"))
		}
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(allowed, e.Name()) {
			t.Errorf("%s stands at the root; allowed are %q and dotfiles", e.Name(), allowed)
		}
	}
}

// The files read here also tell go test that a cached result of this package is stale.
func TestEveryFolderWithCodeExplainsItself(t *testing.T) {
	t.Parallel()
	explained := map[string]bool{}
	for top := range mayImport {
		if _, err := os.Stat(filepath.Join(moduleRoot, top)); errors.Is(err, fs.ErrNotExist) {
			continue // git keeps no empty folders
		}
		err := filepath.WalkDir(filepath.Join(moduleRoot, top), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			name := d.Name()
			if d.IsDir() && (name == "testdata" || name == "node_modules" || strings.HasPrefix(name, ".")) {
				return fs.SkipDir
			}
			if filepath.Ext(name) != ".go" {
				return nil
			}
			dir := filepath.Dir(path)
			explained[dir] = explained[dir] || hasREADME(dir) || hasPackageComment(t, path)
			return nil
		})
		require.NoError(t, err)
	}
	require.NotEmpty(t, explained)
	for dir, ok := range explained {
		if !ok {
			t.Errorf("%s has neither a README.md nor a package comment", dir)
		}
	}
}

func hasREADME(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "README.md"))
	return err == nil
}

func hasPackageComment(t *testing.T, path string) bool {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
	if err != nil {
		t.Errorf("parse %s: %v", path, err)
		return true
	}
	return file.Doc.Text() != ""
}
