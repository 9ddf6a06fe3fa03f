package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/memblob"

	"hearth/domain"
)

const pngStart = "\x89PNG\r\n\x1a\n"

// png is the start of a picture, of so many bytes.
func png(bytes int) string { return pngStart + strings.Repeat("\x00\x01", bytes)[:bytes-len(pngStart)] }

// eachBucket runs a test on the kinds of buckets that need no server; files is what lies in the bucket.
func eachBucket(t *testing.T, test func(t *testing.T, bucket *blob.Bucket, files func() []string)) {
	t.Run("folder", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		bucket, err := fileblob.OpenBucket(dir, &fileblob.Options{NoTempDir: true})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, bucket.Close()) })
		test(t, bucket, func() (names []string) {
			entries, err := os.ReadDir(dir)
			require.NoError(t, err)
			for _, e := range entries {
				names = append(names, e.Name())
			}
			return names
		})
	})
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		bucket := memblob.OpenBucket(nil)
		t.Cleanup(func() { require.NoError(t, bucket.Close()) })
		test(t, bucket, func() (names []string) {
			for list := bucket.List(nil); ; {
				object, err := list.Next(t.Context())
				if errors.Is(err, io.EOF) {
					return names
				}
				require.NoError(t, err)
				names = append(names, object.Key)
			}
		})
	})
}

func uploadsIn(bucket *blob.Bucket) Uploads {
	return Uploads{
		Bucket: bucket, Secret: hmacSecret, MaxBytes: 1 << 20, Expiry: 15 * time.Minute, Rate: 1, Burst: 1000, Concurrent: 8,
		ContentTypes: []string{"image/png", "image/jpeg", "audio/webm", "audio/ogg", "video/mp4", "application/pdf", "text/plain"},
	}
}

func uploadServer(t *testing.T, bucket *blob.Bucket, change func(*Uploads)) *server {
	t.Helper()
	return newServer(t, func(c *Config) {
		c.Uploads = uploadsIn(bucket)
		if change != nil {
			change(&c.Uploads)
		}
	})
}

// slot asks for an upload URL.
func (s *server) slot(t *testing.T, name, contentType string, bytes int) upload {
	t.Helper()
	body, err := json.Marshal(newUpload{name, contentType, int64(bytes)})
	require.NoError(t, err)
	r := s.do(t, "ann", "POST", "/v1/uploads", string(body)).want(t, 201)
	var u upload
	require.NoError(t, json.Unmarshal([]byte(r.body), &u), r.body)
	require.Equal(t, u.URL, r.Header.Get("Location"))
	return u
}

// sending is a PUT of these bytes, as the answer said.
func (u upload) sending(content string) *http.Request {
	r := httptest.NewRequest(u.Method, u.UploadURL, strings.NewReader(content))
	for name, value := range u.Headers {
		r.Header.Set(name, value)
	}
	return r
}

// uploaded is the URL of what was uploaded.
func (s *server) uploaded(t *testing.T, name, contentType, content string) string {
	t.Helper()
	u := s.slot(t, name, contentType, len(content))
	s.serve(u.sending(content)).want(t, 204)
	return u.URL
}

func TestUploadAndFetch(t *testing.T) {
	t.Parallel()
	eachBucket(t, func(t *testing.T, bucket *blob.Bucket, files func() []string) {
		s := uploadServer(t, bucket, nil)
		content := png(100_000)
		before := time.Now()
		u := s.slot(t, "my cat.png", "image/png", len(content))
		require.Equal(t, "PUT", u.Method)
		require.Equal(t, map[string]string{"Content-Type": "image/png"}, u.Headers)
		require.Regexp(t, `^/v1/uploads/[0-9a-f]{32}/my_cat\.png$`, u.URL)
		require.True(t, strings.HasPrefix(u.UploadURL, u.URL+"?"), u.UploadURL)
		require.WithinRange(t, time.UnixMilli(u.ExpiresMS), before.Add(15*time.Minute-time.Second), time.Now().Add(15*time.Minute))

		s.do(t, "", "GET", u.URL, "").wantProblem(t, 404, domain.CodeNotFound, "")
		require.Empty(t, s.serve(u.sending(content)).want(t, 204).body)
		got := s.do(t, "", "GET", u.URL, "").want(t, 200)
		require.Equal(t, content, got.body)
		for name, want := range map[string]string{
			"Content-Type":            "image/png",
			"X-Content-Type-Options":  "nosniff",
			"Content-Security-Policy": "default-src 'none'; sandbox",
			"Cache-Control":           "private, max-age=31536000, immutable",
			"Accept-Ranges":           "bytes",
			"Content-Length":          strconv.Itoa(len(content)),
			"Content-Disposition":     "",
		} {
			require.Equal(t, want, got.Header.Get(name), name)
		}
		require.Regexp(t, `^"[0-9a-f]{32}"$`, got.Header.Get("ETag"))

		head := s.do(t, "", "HEAD", u.URL, "").want(t, 200)
		require.Empty(t, head.body)
		require.Equal(t, got.Header, head.Header)

		other := s.slot(t, "my cat.png", "image/png", len(content))
		require.NotEqual(t, u.URL, other.URL)
		require.NotEmpty(t, files())
	})
}

func TestAppServersUpload(t *testing.T) {
	t.Parallel()
	s := uploadServer(t, memblob.OpenBucket(nil), func(u *Uploads) { u.Rate, u.Burst = 0.001, 1 })
	for range 3 { // they have no rate
		s.do(t, "shop", "POST", "/v1/uploads", `{"name":"a.png","content_type":"image/png","bytes":1}`).want(t, 201)
	}
}

func TestUploadsAreRefused(t *testing.T) {
	t.Parallel()
	s := uploadServer(t, memblob.OpenBucket(nil), nil)
	quoted := func(name string) string {
		b, err := json.Marshal(name)
		require.NoError(t, err)
		return string(b)
	}
	of := func(name, contentType string, bytes int) string {
		return fmt.Sprintf(`{"name":%s,"content_type":%q,"bytes":%d}`, quoted(name), contentType, bytes)
	}
	for what, c := range map[string]struct {
		body   string
		status int
		code   domain.Code
		at     string
	}{
		"no name":               {of("", "image/png", 1), 400, domain.CodeBadRequest, "name"},
		"dot":                   {of(".", "image/png", 1), 400, domain.CodeBadRequest, "name"},
		"dot dot":               {of("..", "image/png", 1), 400, domain.CodeBadRequest, "name"},
		"a way up":              {of("../../"+secret, "image/png", 1), 400, domain.CodeBadRequest, "name"},
		"an absolute path":      {of("/etc/"+secret, "image/png", 1), 400, domain.CodeBadRequest, "name"},
		"a path of Windows":     {of(`C:\`+secret, "image/png", 1), 400, domain.CodeBadRequest, "name"},
		"a NUL":                 {of("a\x00.png", "image/png", 1), 400, domain.CodeBadRequest, "name"},
		"a line break":          {of("a\r\n.png", "image/png", 1), 400, domain.CodeBadRequest, "name"},
		"a very long name":      {of(strings.Repeat("a", 256), "image/png", 1), 400, domain.CodeBadRequest, "name"},
		"no type":               {of("a", "", 1), 400, domain.CodeBadRequest, "content_type"},
		"HTML":                  {of("a", "text/html", 1), 400, domain.CodeBadRequest, "content_type"},
		"SVG":                   {of("a", "image/svg+xml", 1), 400, domain.CodeBadRequest, "content_type"},
		"no type at all":        {of("a", secret, 1), 400, domain.CodeBadRequest, "content_type"},
		"a type and a header":   {of("a", "image/png\nX-Y: z", 1), 400, domain.CodeBadRequest, "content_type"},
		"nothing":               {of("a", "image/png", 0), 400, domain.CodeBadRequest, "bytes"},
		"less than nothing":     {of("a", "image/png", -1), 400, domain.CodeBadRequest, "bytes"},
		"a byte too many":       {of("a", "image/png", 1<<20+1), 413, domain.CodeTooLarge, "bytes"},
		"a number with a point": {`{"name":"a","content_type":"image/png","bytes":1.5}`, 400, domain.CodeBadRequest, "bytes"},
		"an unknown field":      {`{"name":"a","content_type":"image/png","bytes":1,"key":"k"}`, 400, domain.CodeBadRequest, "key"},
	} {
		r := s.do(t, "ann", "POST", "/v1/uploads", c.body)
		require.NotEqual(t, 201, r.StatusCode, what)
		r.wantProblem(t, c.status, c.code, c.at)
	}
	require.NotContains(t, s.log.String(), secret)
	s.do(t, "ann", "POST", "/v1/uploads", of("a", "image/png", 1<<20)).want(t, 201)
	s.do(t, "ann", "POST", "/v1/uploads", of("a", "Audio/WebM; codecs=opus", 1)).want(t, 201)
}

func TestUnwiseNamesAreReplaced(t *testing.T) {
	t.Parallel()
	s := uploadServer(t, memblob.OpenBucket(nil), nil)
	for name, want := range map[string]string{
		".htaccess":               "htaccess",
		"CON":                     "_CON",
		"a%2e%2e%2fb":             "a_2e_2e_2fb",
		"画像.png":                  "%E7%94%BB%E5%83%8F.png",
		strings.Repeat("a", 255):  strings.Repeat("a", 100),
		`"; filename="evil.html`:  "___filename__evil.html",
		"<img src=x onerror=y>":   "_img_src_x_onerror_y_",
		"report\u202efdp.exe.pdf": "report_fdp.exe.pdf",
	} {
		u := s.slot(t, name, "application/pdf", 3)
		require.Regexp(t, "^/v1/uploads/[0-9a-f]{32}/"+want+"$", u.URL)
		s.serve(u.sending("pdf")).want(t, 204)
		require.Equal(t, "pdf", s.do(t, "", "GET", u.URL, "").want(t, 200).body)
	}
}

func TestUploadURLsHoldOnlyAsTheyAre(t *testing.T) {
	t.Parallel()
	eachBucket(t, func(t *testing.T, bucket *blob.Bucket, files func() []string) {
		s := uploadServer(t, bucket, nil)
		content := png(20)
		u := s.slot(t, "a.png", "image/png", len(content))
		another := s.slot(t, "a.png", "image/png", len(content))
		signed, err := url.Parse(u.UploadURL)
		require.NoError(t, err)
		altered := func(change func(*url.URL, url.Values)) string {
			target, query := *signed, signed.Query()
			change(&target, query)
			target.RawQuery = query.Encode()
			return target.String()
		}
		set := func(name, value string) string {
			return altered(func(_ *url.URL, query url.Values) { query.Set(name, value) })
		}
		expires, err := strconv.ParseInt(signed.Query().Get("expires_ms"), 10, 64)
		require.NoError(t, err)
		signature := signed.Query().Get("signature")
		for what, target := range map[string]string{
			"another key":         altered(func(to *url.URL, _ url.Values) { to.Path = strings.Replace(to.Path, "/a.png", "0/a.png", 1) }),
			"another's key":       another.URL + "?" + signed.RawQuery,
			"another name":        altered(func(to *url.URL, _ url.Values) { to.Path = strings.Replace(to.Path, "a.png", "b.png", 1) }),
			"another type":        set("content_type", "application/pdf"),
			"more bytes":          set("bytes", "21"),
			"a later end":         set("expires_ms", strconv.FormatInt(expires+1, 10)),
			"no end":              set("expires_ms", "9999999999999"),
			"another signature":   set("signature", strings.Repeat("A", len(signature))),
			"half a signature":    set("signature", signature[:20]),
			"no signature":        set("signature", ""),
			"no query":            u.URL,
			"a number otherwise":  set("bytes", "+20"),
			"a further parameter": set("x", "1"),
			"a parameter twice":   u.UploadURL + "&bytes=20",
			"a broken query":      u.UploadURL + "&%zz",
			"a line break in it":  set("content_type", "image/png\n20"),
		} {
			r := httptest.NewRequest("PUT", target, strings.NewReader(content))
			r.Header.Set("Content-Type", "image/png")
			got := s.serve(r)
			require.Equal(t, 403, got.StatusCode, what)
			got.wantProblem(t, 403, domain.CodeForbidden, "")
		}
		for _, path := range []string{
			"/v1/uploads/../a.png", "/v1/uploads/%2e%2e/a.png", "/v1/uploads/k/%2e%2e", "/v1/uploads/k/..%2f..%2fetc%2fpasswd", "/v1/uploads/k/a%00.png",
			"/v1/uploads/k/%5c%5cevil", "/v1/uploads/k/.attrs", "/v1/uploads/k.attrs/a.png",
		} {
			r := httptest.NewRequest("PUT", path+"?"+signed.RawQuery, strings.NewReader(content))
			r.Header.Set("Content-Type", "image/png")
			s.serve(r).wantProblem(t, 404, domain.CodeNotFound, "")
			s.do(t, "", "GET", path, "").wantProblem(t, 404, domain.CodeNotFound, "")
		}
		require.Empty(t, files())
	})
}

func TestUploadsOfAnotherLengthOrTypeAreRefused(t *testing.T) {
	t.Parallel()
	eachBucket(t, func(t *testing.T, bucket *blob.Bucket, files func() []string) {
		s := uploadServer(t, bucket, nil)
		content := png(2000)
		u := s.slot(t, "a.png", "image/png", len(content))
		with := func(r *http.Request, change func(*http.Request)) *http.Request {
			change(r)
			return r
		}
		for what, c := range map[string]struct {
			request *http.Request
			status  int
			code    domain.Code
		}{
			"a byte more":               {u.sending(content + "x"), 413, domain.CodeTooLarge},
			"a byte less":               {u.sending(content[1:]), 400, domain.CodeBadRequest},
			"nothing":                   {u.sending(""), 400, domain.CodeBadRequest},
			"chunked":                   {with(u.sending(content), func(r *http.Request) { r.ContentLength = -1 }), 411, domain.CodeBadRequest},
			"more than its length says": {with(u.sending(content+"x"), func(r *http.Request) { r.ContentLength-- }), 413, domain.CodeTooLarge},
			"less than its length says": {with(u.sending(content[1:]), func(r *http.Request) { r.ContentLength++ }), 400, domain.CodeBadRequest},
			"another type":              {with(u.sending(content), func(r *http.Request) { r.Header.Set("Content-Type", "text/html") }), 400, domain.CodeBadRequest},
			"no type":                   {with(u.sending(content), func(r *http.Request) { r.Header.Del("Content-Type") }), 400, domain.CodeBadRequest},
			"compressed":                {with(u.sending(content), func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }), 400, domain.CodeBadRequest},
			"HTML":                      {u.sending(("<!DOCTYPE html><script>alert(1)</script>" + content)[:2000]), 400, domain.CodeBadRequest},
			"SVG":                       {u.sending((`<?xml version="1.0"?><svg onload="alert(1)"/>` + content)[:2000]), 400, domain.CodeBadRequest},
			"a JPEG":                    {u.sending("\xff\xd8\xff" + content[3:]), 400, domain.CodeBadRequest},
			"a PDF":                     {u.sending("%PDF-" + content[5:]), 400, domain.CodeBadRequest},
		} {
			r := s.serve(c.request)
			require.Equal(t, c.status, r.StatusCode, what)
			r.wantProblem(t, c.status, c.code, "")
			require.Empty(t, files(), what)
		}
		// None of it has used the URL up.
		s.serve(u.sending(content)).want(t, 204)
	})
}

func TestTypesThatShareAContainer(t *testing.T) {
	t.Parallel()
	s := uploadServer(t, memblob.OpenBucket(nil), nil)
	webm := "\x1a\x45\xdf\xa3" + strings.Repeat("\x00", 20)
	s.uploaded(t, "voice.webm", "audio/webm; codecs=opus", webm)
	s.uploaded(t, "voice.ogg", "audio/ogg", "OggS\x00"+strings.Repeat("\x00", 20))
	s.uploaded(t, "unknown.mp4", "video/mp4", "\x00\x01\x02\x03")
	s.uploaded(t, "any.pdf", "application/pdf", "<html>") // is served as a file to be saved
	u := s.slot(t, "a.mp4", "video/mp4", len(webm))
	s.serve(u.sending(webm)).wantProblem(t, 400, domain.CodeBadRequest, "")
}

func TestAnUploadHappensOnce(t *testing.T) {
	t.Parallel()
	eachBucket(t, func(t *testing.T, bucket *blob.Bucket, _ func() []string) {
		s := uploadServer(t, bucket, nil)
		first, second := png(600), png(600)[:599]+"!"
		u := s.slot(t, "a.png", "image/png", 600)

		// While the bytes come, nobody sees them and nobody else may send any.
		body, rest := io.Pipe()
		request := u.sending("")
		request.Body, request.ContentLength = body, 600
		done := make(chan *reply)
		go func() { done <- s.serve(request) }()
		_, err := io.WriteString(rest, first[:550])
		require.NoError(t, err)
		s.serve(u.sending(second)).wantProblem(t, 503, domain.CodeOverloaded, "")
		s.do(t, "", "GET", u.URL, "").wantProblem(t, 404, domain.CodeNotFound, "")
		_, err = io.WriteString(rest, first[550:])
		require.NoError(t, err)
		require.NoError(t, rest.Close())
		(<-done).want(t, 204)

		s.serve(u.sending(second)).wantProblem(t, 409, domain.CodeConflict, "")
		require.Equal(t, first, s.do(t, "", "GET", u.URL, "").want(t, 200).body)
	})
}

func TestUploadsAtATimeAreBounded(t *testing.T) {
	t.Parallel()
	s := uploadServer(t, memblob.OpenBucket(nil), func(u *Uploads) { u.Concurrent = 2 })
	var rests []*io.PipeWriter
	done := make(chan *reply, 2)
	for range 2 {
		u := s.slot(t, "a.png", "image/png", 600)
		request := u.sending("")
		body, rest := io.Pipe()
		request.Body, request.ContentLength = body, 600
		go func() { done <- s.serve(request) }()
		_, err := io.WriteString(rest, png(600)[:10])
		require.NoError(t, err)
		rests = append(rests, rest)
	}
	u := s.slot(t, "a.png", "image/png", 600)
	r := s.serve(u.sending(png(600))).wantProblem(t, 503, domain.CodeOverloaded, "")
	require.Equal(t, "1", r.Header.Get("Retry-After"))
	for n, rest := range rests { // one ends well, one is broken off
		if n == 0 {
			_, err := io.WriteString(rest, png(600)[10:])
			require.NoError(t, err)
			require.NoError(t, rest.Close())
		} else {
			require.NoError(t, rest.CloseWithError(io.ErrUnexpectedEOF))
		}
	}
	statuses := []int{(<-done).StatusCode, (<-done).StatusCode}
	require.ElementsMatch(t, []int{204, 400}, statuses)
	s.serve(u.sending(png(600))).want(t, 204)
}

func TestUploadURLsExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := uploadServer(t, memblob.OpenBucket(nil), nil)
		late, intime := s.slot(t, "a.png", "image/png", 20), s.slot(t, "a.png", "image/png", 20)
		time.Sleep(15*time.Minute - time.Second)
		s.serve(intime.sending(png(20))).want(t, 204)
		time.Sleep(time.Second)
		s.serve(late.sending(png(20))).wantProblem(t, 403, domain.CodeForbidden, "")
		s.do(t, "", "GET", intime.URL, "").want(t, 200) // what is there stays
	})
}

func TestUploadsAUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := uploadServer(t, memblob.OpenBucket(nil), func(u *Uploads) { u.Rate, u.Burst = 0.5, 3 })
		ask := func(who string) *reply {
			return s.do(t, who, "POST", "/v1/uploads", `{"name":"a.png","content_type":"image/png","bytes":1}`)
		}
		for range 3 {
			ask("ann").want(t, 201)
		}
		r := ask("ann").wantProblem(t, 429, domain.CodeRateLimited, "")
		require.Equal(t, "2", r.Header.Get("Retry-After"))
		require.Contains(t, r.body, `"retry_after_ms":2000`)
		ask("bob").want(t, 201)
		time.Sleep(2 * time.Second)
		ask("ann").want(t, 201)
		ask("ann").wantProblem(t, 429, domain.CodeRateLimited, "")
		require.Contains(t, scrape(t, s.metrics), `hearth_rate_limited_total{scope="upload"} 2`)
	})
}

func TestFullBucketsAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newUserRates(1, 2)
		for n := range 5000 {
			require.Zero(t, r.take(domain.Actor{User: strconv.Itoa(n)}))
			time.Sleep(10 * time.Millisecond)
		}
		require.Less(t, len(r.buckets), 2500)
		require.Zero(t, r.take(domain.Actor{User: "4999"}))
		require.NotZero(t, r.take(domain.Actor{User: "4999"}), "who is not full is not forgotten")
	})
}

func TestWhatIsNoPictureIsServedAsAFile(t *testing.T) {
	t.Parallel()
	s := uploadServer(t, memblob.OpenBucket(nil), func(u *Uploads) {
		u.ContentTypes = []string{"text/html", "image/svg+xml", "text/plain", "application/pdf", "application/xhtml+xml"}
	})
	for _, contentType := range []string{"text/html", "image/svg+xml", "text/plain", "application/pdf", "application/xhtml+xml"} {
		got := s.do(t, "", "GET", s.uploaded(t, "画 1.x", contentType, "<svg/>"), "").want(t, 200)
		require.Equal(t, "application/octet-stream", got.Header.Get("Content-Type"), contentType)
		require.Equal(t, "attachment; filename*=utf-8''%E7%94%BB_1.x", got.Header.Get("Content-Disposition"))
		require.Equal(t, "nosniff", got.Header.Get("X-Content-Type-Options"))
		require.Equal(t, "default-src 'none'; sandbox", got.Header.Get("Content-Security-Policy"))
	}
}

func TestRangesOfUploads(t *testing.T) {
	t.Parallel()
	eachBucket(t, func(t *testing.T, bucket *blob.Bucket, _ func() []string) {
		s := uploadServer(t, bucket, nil)
		content := png(1000)
		at := s.uploaded(t, "a.png", "image/png", content)
		get := func(header, value string) *reply {
			r := request(t, "", "GET", at, "")
			r.Header.Set(header, value)
			return s.serve(r)
		}
		for asked, want := range map[string]string{
			"bytes=0-9": content[:10], "bytes=990-": content[990:], "bytes=-5": content[995:], "bytes=500-599": content[500:600],
		} {
			r := get("Range", asked).want(t, 206)
			require.Equal(t, want, r.body, asked)
			require.Contains(t, r.Header.Get("Content-Range"), "/1000")
		}
		require.Equal(t, content, get("Range", "bytes=0-1,998-999").want(t, 200).body, "one range is answered, not many")

		r := get("Range", "bytes=1000-").wantProblem(t, 416, domain.CodeBadRequest, "")
		require.Equal(t, "bytes */1000", r.Header.Get("Content-Range"))
		require.Equal(t, "no-store", r.Header.Get("Cache-Control"))

		tag := get("Range", "bytes=0-0").Header.Get("ETag")
		require.Empty(t, get("If-None-Match", tag).want(t, 304).body)
		get("If-None-Match", `"other"`).want(t, 200)
	})
}

func TestUploadsAreFoundByTheirWholeURL(t *testing.T) {
	t.Parallel()
	eachBucket(t, func(t *testing.T, bucket *blob.Bucket, _ func() []string) {
		s := uploadServer(t, bucket, nil)
		at := s.uploaded(t, "a.png", "image/png", png(20))
		for _, path := range []string{
			strings.Replace(at, "a.png", "b.png", 1), strings.TrimSuffix(at, "/a.png"), strings.TrimSuffix(at, "a.png"),
			strings.Replace(at, "/a.png", ".attrs/a.png", 1), at + "/x", "/v1/uploads/" + strings.Repeat("0", 32) + "/a.png",
		} {
			s.do(t, "", "GET", path, "").wantProblem(t, 404, domain.CodeNotFound, "")
		}
		r := s.do(t, "ann", "DELETE", at, "").wantProblem(t, 405, domain.CodeBadRequest, "")
		require.Equal(t, "GET, HEAD, PUT", r.Header.Get("Allow"))
	})
}

func TestUploadURLsOfOtherInstancesHold(t *testing.T) {
	t.Parallel()
	bucket := memblob.OpenBucket(nil)
	a, b := uploadServer(t, bucket, nil), uploadServer(t, bucket, nil)
	u := a.slot(t, "a.png", "image/png", 20)
	b.serve(u.sending(png(20))).want(t, 204)
	a.do(t, "", "GET", u.URL, "").want(t, 200)
	stranger := uploadServer(t, bucket, func(u *Uploads) { u.Secret = []byte(strings.Repeat("t", 32)) })
	u = a.slot(t, "a.png", "image/png", 20)
	stranger.serve(u.sending(png(20))).wantProblem(t, 403, domain.CodeForbidden, "")
}

func TestWithoutABucketThereAreNoUploads(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.do(t, "ann", "POST", "/v1/uploads", `{"name":"a.png","content_type":"image/png","bytes":1}`).wantProblem(t, 404, domain.CodeNotFound, "")
	for _, method := range []string{"GET", "PUT"} {
		s.do(t, "", method, "/v1/uploads/k/a.png", "").wantProblem(t, 404, domain.CodeNotFound, "")
	}
}

func TestABucketThatFailsIsUnavailable(t *testing.T) {
	t.Parallel()
	bucket := memblob.OpenBucket(nil)
	s := uploadServer(t, bucket, nil)
	u := s.slot(t, "a.png", "image/png", 20)
	require.NoError(t, bucket.Close())
	s.serve(u.sending(png(20))).wantProblem(t, 503, domain.CodeUnavailable, "")
	s.do(t, "", "GET", u.URL, "").wantProblem(t, 503, domain.CodeUnavailable, "")
	require.Contains(t, s.log.String(), "http request failed")
	key := strings.Split(u.URL, "/")[3]
	require.NotContains(t, s.log.String(), key)
	require.NotContains(t, s.log.String(), "signature")
}

// closing takes the bucket away as soon as an answer begins.
type closing struct {
	*httptest.ResponseRecorder
	bucket *blob.Bucket
}

func (w closing) WriteHeader(status int) {
	w.ResponseRecorder.WriteHeader(status)
	_ = w.bucket.Close()
}

func TestABucketThatFailsInTheMiddleIsLogged(t *testing.T) {
	t.Parallel()
	bucket := memblob.OpenBucket(nil)
	s := uploadServer(t, bucket, nil)
	url := s.uploaded(t, "a.png", "image/png", png(20))
	w := closing{httptest.NewRecorder(), bucket}
	s.handler.ServeHTTP(w, request(t, "", "GET", url, ""))
	require.Equal(t, 200, w.Code)
	require.Zero(t, w.Body.Len())
	require.Contains(t, s.log.String(), "http request failed")
	require.NotContains(t, s.log.String(), strings.Split(url, "/")[3])
}

func TestUploadsThatPassThisServer(t *testing.T) {
	t.Parallel()
	s := uploadServer(t, memblob.OpenBucket(nil), func(u *Uploads) {
		u.Direct = func(_ context.Context, slot UploadSlot) (string, map[string]string, error) {
			if slot.Name == "broken.png" {
				return "", nil, io.ErrUnexpectedEOF
			}
			return "https://bucket.example/" + slot.Key + "?signed", map[string]string{"X-Amz-Meta-Name": slot.Metadata()["name"]}, nil
		}
	})
	u := s.slot(t, "a.png", "image/png", 20)
	require.Equal(t, "https://bucket.example/"+strings.Split(u.URL, "/")[3]+"?signed", u.UploadURL)
	require.Equal(t, map[string]string{"X-Amz-Meta-Name": "a.png"}, u.Headers)
	s.do(t, "ann", "POST", "/v1/uploads", `{"name":"broken.png","content_type":"image/png","bytes":1}`).wantProblem(t, 503, domain.CodeUnavailable, "")
}

func TestUploadsNeedWhatTheyNeed(t *testing.T) {
	t.Parallel()
	for _, change := range []func(*Uploads){
		func(u *Uploads) { u.Secret = u.Secret[:31] },
		func(u *Uploads) { u.MaxBytes = 0 },
		func(u *Uploads) { u.Expiry = 0 },
		func(u *Uploads) { u.Concurrent = 0 },
	} {
		cfg := uploadsIn(memblob.OpenBucket(nil))
		change(&cfg)
		require.Error(t, cfg.check())
	}
}

func TestBrowsersUploadFromAllowedOrigins(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *Config) {
		c.Uploads = uploadsIn(memblob.OpenBucket(nil))
		c.AllowedOrigins = []string{"https://app.example"}
	})
	u := s.slot(t, "a.png", "image/png", 20)
	preflight := httptest.NewRequest("OPTIONS", u.UploadURL, nil)
	preflight.Header.Set("Origin", "https://app.example")
	preflight.Header.Set("Access-Control-Request-Method", "PUT")
	preflight.Header.Set("Access-Control-Request-Headers", "content-type")
	r := s.serve(preflight).want(t, 200)
	require.Equal(t, "https://app.example", r.Header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, "PUT", r.Header.Get("Access-Control-Allow-Methods"))
	put := u.sending(png(20))
	put.Header.Set("Origin", "https://app.example")
	require.Equal(t, "https://app.example", s.serve(put).want(t, 204).Header.Get("Access-Control-Allow-Origin"))
	get := request(t, "", "GET", u.URL, "")
	get.Header.Set("Origin", "https://app.example")
	require.Equal(t, "https://app.example", s.serve(get).want(t, 200).Header.Get("Access-Control-Allow-Origin"))
}

// Over real connections: long bodies, chunked ones, and clients that go away.
func TestUploadsOverARealConnection(t *testing.T) {
	t.Parallel()
	eachBucket(t, func(t *testing.T, bucket *blob.Bucket, files func() []string) {
		s := uploadServer(t, bucket, func(u *Uploads) { u.MaxBytes = 20 << 20 })
		served := make(chan struct{}, 10)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.handler.ServeHTTP(w, r)
			served <- struct{}{}
		}))
		t.Cleanup(server.Close)
		client := server.Client()
		send := func(u upload, body io.Reader, length int64) (int, error) {
			r, err := http.NewRequestWithContext(t.Context(), "PUT", server.URL+u.UploadURL, body)
			require.NoError(t, err)
			r.Header.Set("Content-Type", "image/png")
			r.ContentLength = length
			got, err := client.Do(r)
			if err != nil {
				return 0, err
			}
			return got.StatusCode, got.Body.Close()
		}
		content := png(20 << 20)
		u := s.slot(t, "a.png", "image/png", len(content))
		status, err := send(u, strings.NewReader(content), -1)
		require.NoError(t, err)
		require.Equal(t, 411, status)
		<-served

		// Half of it, then the client is gone.
		_, err = send(u, io.MultiReader(strings.NewReader(content[:10<<20]), failing{}), int64(len(content)))
		require.Error(t, err)
		<-served
		require.Empty(t, files(), "it left nothing behind")

		status, err = send(u, strings.NewReader(content), int64(len(content)))
		require.NoError(t, err)
		require.Equal(t, 204, status)
		got, err := client.Get(server.URL + u.URL)
		require.NoError(t, err)
		fetched, err := io.ReadAll(got.Body)
		require.NoError(t, err)
		require.NoError(t, got.Body.Close())
		require.True(t, bytes.Equal([]byte(content), fetched))
	})
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

// overPipes serves in a bubble, with the timeouts that a server has for all its other routes.
func overPipes(t *testing.T, s *server) (dial func() net.Conn, end func()) {
	t.Helper()
	dials := make(chan net.Conn)
	server := &http.Server{Handler: s.handler, ReadTimeout: time.Second, WriteTimeout: 2 * time.Second}
	serving := make(chan struct{})
	go func() {
		defer close(serving)
		_ = server.Serve(pipes{dials})
	}()
	dial = func() net.Conn {
		here, there := net.Pipe()
		dials <- there
		return here
	}
	return dial, func() {
		require.NoError(t, server.Close())
		<-serving
	}
}

func (u upload) head(bytes int) string {
	return fmt.Sprintf("PUT %s HTTP/1.1\r\nHost: hearth\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n", u.UploadURL, bytes)
}

// A sender that stalls does not hold its place for ever.
func TestSlowUploadsAreCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := uploadServer(t, memblob.OpenBucket(nil), func(u *Uploads) { u.Concurrent = 1 })
		dial, end := overPipes(t, s)
		defer end()
		u := s.slot(t, "a.png", "image/png", 640<<10)
		here := dial()
		started := time.Now()
		stalled := make(chan struct{})
		go func() { // a byte a second, for as long as anybody reads
			defer close(stalled)
			_, err := io.WriteString(here, u.head(640<<10))
			for ; err == nil; _, err = here.Write([]byte("x")) {
				time.Sleep(time.Second)
			}
		}()
		answer, err := io.ReadAll(here)
		require.NoError(t, err)
		require.Contains(t, string(answer), "HTTP/1.1 408 Request Timeout")
		require.Contains(t, string(answer), `"code":"bad_request"`)
		took := time.Since(started)
		require.GreaterOrEqual(t, took, 25*time.Second) // 15 s, and 10 s for 640 KiB
		require.Less(t, took, 30*time.Second)
		require.NoError(t, here.Close())
		<-stalled
		s.serve(u.sending(png(640<<10))).want(t, 204) // the place and the URL are free again
	})
}

// A phone on a bad line may take longer than any other request.
func TestSlowLinesAreGivenTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := uploadServer(t, memblob.OpenBucket(nil), nil)
		dial, end := overPipes(t, s)
		defer end()
		content := png(640 << 10)
		u := s.slot(t, "a.png", "image/png", len(content))
		here := dial()
		defer here.Close()
		go func() {
			if _, err := io.WriteString(here, u.head(len(content))); err != nil {
				return
			}
			for part := range 10 {
				time.Sleep(2 * time.Second)
				if _, err := io.WriteString(here, content[part*64<<10:(part+1)*64<<10]); err != nil {
					return
				}
			}
		}()
		lines := bufio.NewReader(here)
		answer, err := http.ReadResponse(lines, nil)
		require.NoError(t, err)
		require.Equal(t, 204, answer.StatusCode)

		_, err = fmt.Fprintf(here, "GET %s HTTP/1.1\r\nHost: hearth\r\n\r\n", u.URL)
		require.NoError(t, err)
		answer, err = http.ReadResponse(lines, nil)
		require.NoError(t, err)
		var got []byte
		for len(got) < len(content) {
			time.Sleep(time.Second)
			part := make([]byte, 64<<10)
			n, err := io.ReadFull(answer.Body, part)
			require.NoError(t, err)
			got = append(got, part[:n]...)
		}
		require.True(t, bytes.Equal([]byte(content), got))
	})
}

// pipes is a listener for net.Pipe.
type pipes struct{ dials chan net.Conn }

func (l pipes) Accept() (net.Conn, error) {
	conn, ok := <-l.dials
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (l pipes) Close() error   { close(l.dials); return nil }
func (l pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }
