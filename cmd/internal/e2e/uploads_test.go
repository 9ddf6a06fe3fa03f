package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
)

// slot is the answer to POST /v1/uploads.
type slot struct {
	UploadURL string            `json:"upload_url"`
	Method    string            `json:"method"`
	Headers   map[string]string `json:"headers"`
	URL       string            `json:"url"`
	ExpiresMS int64             `json:"expires_ms"`
}

// picture is a PNG to whoever looks at its start.
func picture(bytes int) []byte {
	content := []byte("\x89PNG\r\n\x1a\n\x00")
	for len(content) < bytes {
		content = append(content, byte(rand.Uint32()))
	}
	return content
}

// slot asks for an upload URL. The name is one that no log may have: with the whole URL anybody could read the file.
func (c *caller) slot(contentType string, bytes int) (s slot) {
	c.t.Helper()
	c.post("/v1/uploads", fields{"name": quiet + ".png", "content_type": contentType, "bytes": bytes}).ok(http.StatusCreated, &s)
	return s
}

// upload sends bytes as the slot says, without a token.
func (c *caller) upload(s slot, content []byte) *answer {
	c.t.Helper()
	request, err := http.NewRequest(s.Method, c.base+s.UploadURL, bytes.NewReader(content))
	if err != nil {
		c.t.Fatal(err)
	}
	for name, value := range s.Headers {
		request.Header.Set(name, value)
	}
	a, err := c.send(request)
	if err != nil {
		c.t.Fatal(err)
	}
	return a
}

// anybody talks to instance n without a token.
func (s *stack) anybody(n int) *caller {
	return &caller{s.t, s.http, "http://" + s.instances[n].addr, ""}
}

// fetches gets an upload from instance n, as anybody.
func (s *stack) fetches(n int, url string, want []byte) {
	s.t.Helper()
	a := s.anybody(n).get(url)
	a.ok(http.StatusOK, nil)
	if !bytes.Equal(a.Body, want) {
		s.t.Errorf("%s: got %d bytes, want the %d that were uploaded", a.what, len(a.Body), len(want))
	}
	a.header("Content-Type", "image/png")
	a.header("X-Content-Type-Options", "nosniff")
	a.header("Content-Security-Policy", "default-src 'none'; sandbox")
}

// TestUploads: what is uploaded over one instance is sent as a picture and fetched over another, also when both have been
// away; what is not as it was announced is refused and leaves nothing behind.
func TestUploads(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, env: map[string]string{"HEARTH_UPLOADS_DIR": t.TempDir()}})
	s.createGroup("group", "g", "ann", "bob")
	ann, bob := s.connect(0, "ann"), s.connect(1, "bob")
	content := picture(3 << 20)
	up := s.user(0, "ann").slot("image/png", len(content))
	s.anybody(1).get(up.URL).refused(http.StatusNotFound, "not_found", "")
	s.anybody(1).upload(up, content).ok(http.StatusNoContent, nil) // any instance takes it

	ann.do("send", fields{"group": "g", "body": []fields{{"type": "image", "url": up.URL, "bytes": len(content)}}}, nil)
	var body []struct{ Type, URL string }
	pushed := bob.awaitPushes("g", 1)[0]
	if err := json.Unmarshal(pushed.Body, &body); err != nil || len(body) != 1 || body[0].URL != up.URL {
		t.Fatalf("bob got %s (%v), want a picture at the URL of the upload", pushed.raw, err)
	}
	s.fetches(0, body[0].URL, content)
	s.fetches(1, body[0].URL, content)

	t.Run("what does not fit is refused", func(t *testing.T) {
		s := s.in(t)
		web, anybody := s.user(0, "ann"), s.anybody(1)
		anybody.upload(up, content).refused(http.StatusConflict, "conflict", "")
		next := web.slot("image/png", 1000)
		anybody.upload(next, picture(1001)).refused(http.StatusRequestEntityTooLarge, tooLarge, "")
		anybody.upload(next, picture(999)).refused(http.StatusBadRequest, badRequest, "")
		anybody.upload(next, append([]byte("<html><script>"), picture(986)...)).refused(http.StatusBadRequest, badRequest, "")
		altered := next
		altered.UploadURL = strings.Replace(next.UploadURL, "bytes=1000", "bytes=1001", 1)
		anybody.upload(altered, picture(1001)).refused(http.StatusForbidden, "forbidden", "")
		anybody.get(next.URL).refused(http.StatusNotFound, "not_found", "")
		for _, path := range []string{"/v1/uploads/../groups", "/v1/uploads/%2e%2e/%2e%2e", "/v1/uploads/k/..%2f..%2fetc%2fpasswd"} {
			anybody.get(path).refused(http.StatusNotFound, "not_found", "")
		}
		for field, f := range map[string]fields{
			"name":         {"name": "../../" + quiet, "content_type": "image/png", "bytes": 1},
			"content_type": {"name": quiet, "content_type": "text/html", "bytes": 1},
		} {
			web.post("/v1/uploads", f).refused(http.StatusBadRequest, badRequest, field)
		}
		web.post("/v1/uploads", fields{"name": "a", "content_type": "image/png", "bytes": 20<<20 + 1}).refused(http.StatusRequestEntityTooLarge, tooLarge, "bytes")
		anybody.post("/v1/uploads", fields{"name": "a", "content_type": "image/png", "bytes": 1}).refused(http.StatusUnauthorized, "unauthorized", "")
		if err := ann.try("send", fields{"group": "g", "body": []fields{{"type": "image", "url": next.UploadURL}}}, nil); codeOf(err) != badRequest {
			t.Errorf("an upload_url in a message: got %v, want bad_request", err)
		}
	})
	t.Run("of an upload that a killed instance was taking there is nothing", func(t *testing.T) {
		s := s.in(t)
		half := s.user(1, "ann").slot("image/png", len(content))
		conn, err := net.Dial("tcp", s.instances[0].addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: hearth\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n", half.UploadURL, len(content))
		// More than sockets hold: some of it has been written when the instance is killed.
		if _, err := conn.Write(content[:len(content)-1]); err != nil {
			t.Fatal(err)
		}
		s.instances[0].kill()
		_, _ = io.Copy(io.Discard, conn) // until the connection is gone
		s.anybody(1).get(half.URL).refused(http.StatusNotFound, "not_found", "")
		s.anybody(1).upload(half, content).ok(http.StatusNoContent, nil)
		s.instances[0].up()
		s.fetches(0, half.URL, content)
	})
	t.Run("a restart keeps everything", func(t *testing.T) {
		s := s.in(t)
		pending := s.user(0, "ann").slot("image/png", len(content))
		for _, i := range s.instances {
			i.stop()
			i.up()
		}
		s.anybody(1).upload(pending, content).ok(http.StatusNoContent, nil)
		s.fetches(0, up.URL, content)
		s.fetches(1, pending.URL, content)
	})
}

// TestUploadsOfAnInstanceAlone: without any setting for it, uploads lie where the instance was started.
func TestUploadsOfAnInstanceAlone(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{})
	content := picture(1000)
	up := s.server(0).slot("image/png", len(content))
	s.anybody(0).upload(up, content).ok(http.StatusNoContent, nil)
	s.instances[0].stop()
	s.instances[0].up()
	s.fetches(0, up.URL, content)
}

// TestUploadsInDev: the instances of dev share them, and --fresh forgets them.
func TestUploadsInDev(t *testing.T) {
	t.Parallel()
	d := newDev(t, "--bots", "0")
	d.up()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	web := func(n int) *caller { return &caller{t, client, d.urls[n], d.apiKey} }
	content := picture(1000)
	up := web(0).slot("image/png", len(content))
	web(1).upload(up, content).ok(http.StatusNoContent, nil)
	d.stop()
	d.up()
	if got := web(0).get(up.URL); got.Status != http.StatusOK || !bytes.Equal(got.Body, content) {
		t.Errorf("after a restart: got %d and %d bytes, want what was uploaded", got.Status, len(got.Body))
	}
	d.stop()
	d.args = append(d.args, "--fresh")
	d.up()
	web(1).get(up.URL).refused(http.StatusNotFound, "not_found", "")
}
