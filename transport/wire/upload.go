package wire

import (
	"net/url"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	uploadPrefix = "/v1/uploads/"

	maxUploadKey       = 64
	maxUploadName      = 100
	maxUploadExtension = 16
)

// UploadPath is where an upload is put and got: as it stands in messages.
func UploadPath(key, name string) string { return uploadPrefix + key + "/" + url.PathEscape(name) }

// SplitUploadPath takes a path, already unescaped, apart. It is not ok unless SafeUploadName has nothing to change about
// the name: what this server did not give out is nowhere.
func SplitUploadPath(path string) (key, name string, ok bool) {
	rest, found := strings.CutPrefix(path, uploadPrefix)
	key, name, _ = strings.Cut(rest, "/")
	return key, name, found && validUploadKey(key) && name == SafeUploadName(name)
}

// isUpload tells whether s is the path of an upload, letter by letter as UploadPath writes it. So it has no query: with
// one it could be somebody's upload_url.
func isUpload(s string) bool {
	path, err := url.PathUnescape(s)
	key, name, ok := SplitUploadPath(path)
	return err == nil && ok && s == UploadPath(key, name)
}

func validUploadKey(key string) bool {
	return key != "" && len(key) <= maxUploadKey &&
		strings.Trim(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
}

// SafeUploadName is what a file may be called in a path and on the disk of whoever saves it: letters and digits of any
// script, ".", "_" and "-", with "_" for everything else; no dot at either end nor two together, none of the names that
// Windows keeps for devices, at most 100 bytes with the extension kept. It is never empty, and its own safe name.
func SafeUploadName(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.L, unicode.M, unicode.Nd) || strings.ContainsRune("._-", r) {
			return r
		}
		return '_'
	}, name)
	for strings.Contains(name, "..") {
		name = strings.ReplaceAll(name, "..", ".")
	}
	name = strings.Trim(name, ".")
	if name == "" {
		return "file"
	}
	if isDevice(name) {
		name = "_" + name
	}
	return shortened(name)
}

// isDevice knows what Windows takes for a device, whatever extension it has.
func isDevice(name string) bool {
	stem, _, _ := strings.Cut(strings.ToUpper(name), ".")
	switch stem {
	case "CON", "PRN", "AUX", "NUL":
		return true
	}
	return len(stem) == 4 && (stem[:3] == "COM" || stem[:3] == "LPT") && stem[3] >= '0' && stem[3] <= '9'
}

func shortened(name string) string {
	if len(name) <= maxUploadName {
		return name
	}
	extension := path.Ext(name)
	if len(extension) > maxUploadExtension {
		extension = ""
	}
	stem := name[:maxUploadName-len(extension)]
	for !utf8.ValidString(stem) { // the cut went through a letter
		stem = stem[:len(stem)-1]
	}
	return strings.TrimRight(stem, ".") + extension
}
