// Package pages holds the built web pages, demo and console. Their sources lie beside it; `npm run build` makes dist, which
// is committed, so that Go alone runs everything.
package pages

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"net/http"
	"path"
	"time"
)

//go:embed dist
var dist embed.FS

// contentTypes are told here and not asked of the system: some machines call .js text/plain, which nosniff refuses.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// File is one file of a page.
type File struct {
	name, contentType, etag string
	content                 []byte
}

// Files are those of a page, demo or console, by name; one is index.html. It panics when there is no such page, or a
// file without a known type: both could only have been built wrong.
func Files(page string) map[string]File {
	dir := path.Join("dist", page)
	entries, err := dist.ReadDir(dir)
	if err != nil {
		panic(err)
	}
	files := make(map[string]File, len(entries))
	for _, e := range entries {
		content, err := dist.ReadFile(path.Join(dir, e.Name()))
		if err != nil {
			panic(err)
		}
		contentType, known := contentTypes[path.Ext(e.Name())]
		if !known {
			panic("pages: what is " + e.Name() + "?")
		}
		files[e.Name()] = File{
			name: e.Name(), contentType: contentType, content: content,
			etag: fmt.Sprintf(`"%x"`, sha256.Sum256(content)),
		}
	}
	return files
}

// ServeHTTP lets browsers keep the file and ask whether it is still the same: a new hearth must not meet an old page.
func (f File) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", f.contentType)
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", f.etag)
	http.ServeContent(w, r, f.name, time.Time{}, bytes.NewReader(f.content))
}
