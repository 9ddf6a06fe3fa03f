package demo

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"time"
)

//go:embed static
var static embed.FS

// contentTypes are told here and not asked of the system: some machines call .js text/plain, which nosniff refuses.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// asset is one file of the page.
type asset struct {
	name, contentType, etag string
	content                 []byte
}

// readAssets panics on a file without a known type: it could only have been built wrong.
func readAssets() map[string]asset {
	files, err := fs.Glob(static, "static/*")
	if err != nil {
		panic(err)
	}
	assets := map[string]asset{}
	for _, file := range files {
		content, err := static.ReadFile(file)
		if err != nil {
			panic(err)
		}
		contentType, known := contentTypes[path.Ext(file)]
		if !known {
			panic("demo: what is " + file + "?")
		}
		name := path.Base(file)
		assets[name] = asset{
			name: name, contentType: contentType, content: content,
			etag: fmt.Sprintf(`"%x"`, sha256.Sum256(content)),
		}
	}
	return assets
}

// ServeHTTP lets browsers keep the file and ask whether it is still the same: a new hearth must not meet an old page.
func (a asset) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", a.contentType)
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", a.etag)
	http.ServeContent(w, r, a.name, time.Time{}, bytes.NewReader(a.content))
}
