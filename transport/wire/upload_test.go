package wire

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestSafeUploadName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"cat.png":                           "cat.png",
		"IMG_0001-2.JPG":                    "IMG_0001-2.JPG",
		"my cat (1).png":                    "my_cat__1_.png",
		"画像.png":                            "画像.png",
		"ไฟล์.pdf":                          "ไฟล์.pdf",
		"":                                  "file",
		".":                                 "file",
		"..":                                "file",
		"...":                               "file",
		".htaccess":                         "htaccess",
		"a.":                                "a",
		"a...png":                           "a.png",
		"../../etc/passwd":                  "_._etc_passwd",
		`..\..\boot.ini`:                    "_._boot.ini",
		"/etc/passwd":                       "_etc_passwd",
		`C:\x.exe`:                          "C__x.exe",
		"a\x00.png":                         "a_.png",
		"a\r\nSet-Cookie: x":                "a__Set-Cookie__x",
		`"><script>.png`:                    "___script_.png",
		"a%2e%2e%2fb":                       "a_2e_2e_2fb",
		"a?b#c":                             "a_b_c",
		"invoice\u202egpj.exe":              "invoice_gpj.exe",
		"bad\xff\xfe.png":                   "bad__.png",
		"CON":                               "_CON",
		"nul.tar.gz":                        "_nul.tar.gz",
		"Com7.txt":                          "_Com7.txt",
		"com.txt":                           "com.txt",
		"console.txt":                       "console.txt",
		strings.Repeat("a", 300):            strings.Repeat("a", 100),
		strings.Repeat("画", 90) + ".png":    strings.Repeat("画", 32) + ".png",
		"a." + strings.Repeat("b", 300):     "a." + strings.Repeat("b", 98),
		strings.Repeat("a", 95) + ".b.jpeg": strings.Repeat("a", 95) + ".jpeg",
	} {
		require.Equal(t, want, SafeUploadName(name), "%.60q", name)
	}
}

func TestUploadPathsAreTakenApart(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"cat.png", "画像.png", "file"} {
		path, err := url.PathUnescape(UploadPath("k-1", name))
		require.NoError(t, err)
		key, got, ok := SplitUploadPath(path)
		require.True(t, ok)
		require.Equal(t, [2]string{"k-1", name}, [2]string{key, got})
	}
	for _, path := range []string{
		"", "/", "/v1/uploads", "/v1/uploads/", "/v1/uploads/k", "/v1/uploads/k/", "/v1/uploads//a", "/v1/uploads/../a",
		"/v1/uploads/k/../a", "/v1/uploads/k/a/b", "/v1/uploads/k/.a", "/v1/uploads/k.attrs/a", "/v1/uploads/k/a b",
		"/v1/uploads/" + strings.Repeat("k", 65) + "/a", "/v1/uploads/k/" + strings.Repeat("a", 101), "/v1/groups/k/a",
	} {
		_, _, ok := SplitUploadPath(path)
		require.False(t, ok, "%.60q", path)
	}
}

func FuzzSafeUploadName(f *testing.F) {
	for _, seed := range []string{
		"cat.png", "", "..", "../../etc/passwd", `C:\a`, "a\x00b", "画像.png", "\xff", "CON.txt", strings.Repeat("é", 200) + ".x.",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		safe := SafeUploadName(name)
		if safe == "" || len(safe) > maxUploadName || !utf8.ValidString(safe) || isDevice(safe) {
			t.Fatalf("%q became %q", name, safe)
		}
		if strings.HasPrefix(safe, ".") || strings.HasSuffix(safe, ".") || strings.Contains(safe, "..") || strings.ContainsAny(safe, `/\:%?#"<>|* `+"\x00\r\n") {
			t.Fatalf("%q became %q", name, safe)
		}
		if again := SafeUploadName(safe); again != safe {
			t.Fatalf("%q became %q, and that %q", name, safe, again)
		}
		if got := filepath.Join("/folder", safe); got != "/folder/"+safe {
			t.Fatalf("%q leaves its folder: %q", safe, got)
		}
		if !isUpload(UploadPath("k", safe)) {
			t.Fatalf("messages refuse %q", UploadPath("k", safe))
		}
	})
}
