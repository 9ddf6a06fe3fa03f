package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// recallsOf is the page's "recall others' messages", by whose message it is.
const recallsOf = `
may     of        owner   admin      member     muted      outsider   server
recall  olivia    ok      forbidden  forbidden  forbidden  forbidden  ok
recall  adam      ok      ok         forbidden  forbidden  forbidden  ok
recall  ada       ok      forbidden  forbidden  forbidden  forbidden  ok
recall  bob       ok      ok         ok         forbidden  forbidden  ok
recall  max       ok      ok         forbidden  forbidden  forbidden  ok
recall  eve       ok      ok         forbidden  forbidden  ok         ok
`

func (w *walk) walkRecalls(t *testing.T) {
	g := w.group(t, "room open")
	watcher := w.listen(t, "zoe", time.Hour)
	watcher.do("subscribe", fields{"group": g}, nil)
	for key, codes := range expected(t, recallsOf) {
		_, author, _ := strings.Cut(key, " ")
		for who, code := range codes {
			var m sent
			a := w.call(t, author, http.MethodPost, "/v1/groups/"+g+"/messages", fields{"body": textBody(say("to be recalled"))})
			a.ok(http.StatusCreated, &m)
			d := deed{method: "DELETE", path: fmt.Sprintf("/v1/groups/{g}/messages/%d", m.Seq), status: 204}
			if m.Seq%2 == 0 && who != "server" {
				d = deed{op: "recall", body: fmt.Sprintf(`{"group":"{g}","seq":%d}`, m.Seq), shape: "none"}
			}
			w.do(t, d, g, who, code)
			shape := "message"
			if code == "ok" {
				shape = "tombstone"
				w.do(t, d, g, who, "ok") // again
				watcher.awaitMatch("recall", func(f frame) bool { return f.Event == "recall" && f.Group == g && f.Seq == m.Seq })
			}
			w.call(t, "bob", http.MethodGet, fmt.Sprintf("/v1/groups/%s/messages/%d", g, m.Seq), nil).fine(t, 200, shape)
		}
	}
	for _, query := range []string{"recalled_after_ms=0", "before_seq=9&recalled_after_ms=0"} {
		w.call(t, "bob", http.MethodGet, "/v1/groups/"+g+"/messages?"+query, nil).refused(400, badRequest, "recalled_after_ms")
	}
	var page struct{ Recalled []int64 }
	a := w.call(t, "bob", http.MethodGet, "/v1/groups/"+g+"/messages?after_seq=4503599627370496&recalled_after_ms=0", nil)
	if a.ok(200, &page); len(page.Recalled) == 0 {
		t.Errorf("%s: nothing recalled: %s", a.what, a.Body)
	}
	dm := w.directGroup(t)
	w.do(t, deed{method: "DELETE", path: "/v1/groups/{g}/messages/2", status: 204}, dm, "member", "forbidden") // the other's
	w.do(t, deed{op: "recall", body: `{"group":"{g}","seq":1}`, shape: "none"}, dm, "member", "ok")
}

// walkUploads: the bytes go and come without a token, as the answer says.
func (w *walk) walkUploads(t *testing.T) {
	const content = "\x89PNG\r\n\x1a\nbytes"
	var u slot
	w.call(t, "bob", http.MethodPost, "/v1/uploads", fields{"name": "a.png", "content_type": "image/png", "bytes": len(content)}).ok(201, &u)
	w.bytes(t, http.MethodGet, u.URL, nil, "").refused(404, "not_found", "")
	w.bytes(t, http.MethodPut, u.URL, u.Headers, content).refused(403, "forbidden", "")
	w.bytes(t, http.MethodPut, u.UploadURL+"x", u.Headers, content).refused(403, "forbidden", "")
	w.bytes(t, http.MethodPut, u.UploadURL, map[string]string{"Content-Type": "text/html"}, content).refused(400, badRequest, "")
	w.bytes(t, http.MethodPut, u.UploadURL, u.Headers, content[1:]).refused(400, badRequest, "")
	w.bytes(t, http.MethodPut, u.UploadURL, u.Headers, content+"x").refused(413, tooLarge, "")
	w.bytes(t, http.MethodPut, u.UploadURL, map[string]string{"Content-Type": "image/png", "Transfer-Encoding": "chunked"}, content).refused(411, badRequest, "")
	w.bytes(t, http.MethodPut, u.UploadURL, u.Headers, content).fine(t, 204, "")
	w.bytes(t, http.MethodPut, u.UploadURL, u.Headers, content).refused(409, "conflict", "")
	for _, x := range []struct {
		ranged string
		status int
		body   string
	}{{"", 200, content}, {"bytes=1-3", 206, "PNG"}, {"bytes=999-", 416, ""}} {
		headers := map[string]string{}
		if x.ranged != "" {
			headers["Range"] = x.ranged
		}
		if a := w.bytes(t, http.MethodGet, u.URL, headers, ""); a.Status != x.status || x.body != "" && string(a.Body) != x.body {
			t.Errorf("%s of %q: got %d %q, want %d %q", a.what, x.ranged, a.Status, a.Body, x.status, x.body)
		}
	}
	w.call(t, "bob", http.MethodGet, "/v1/uploads/nowhere/a.png", nil).refused(404, "not_found", "")
	w.bytes(t, http.MethodPut, "/v1/uploads/nowhere/a.png", u.Headers, content).refused(403, "forbidden", "")
}

// bytes is a request without a token whose body is no JSON.
func (w *walk) bytes(t *testing.T, method, path string, headers map[string]string, content string) *answer {
	t.Helper()
	var body io.Reader
	if content != "" {
		body = strings.NewReader(content)
	}
	request, err := http.NewRequest(method, "http://"+w.instances[w.next()].addr+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	if headers["Transfer-Encoding"] != "" {
		request.ContentLength = -1
	}
	a, err := (&caller{t, w.http, "", ""}).send(request)
	if err != nil {
		t.Fatal(err)
	}
	x := exchange{method: method, path: path, contentType: headers["Content-Type"], answer: a}
	if a.Header.Get("Content-Type") == "application/problem+json" || a.Status == http.StatusNoContent {
		w.spec.answered(t, x)
	} else if in := w.spec.input(t, x); in.Route.Operation.Responses.Status(a.Status) == nil { // bytes have no schema
		t.Errorf("%s: the OpenAPI file does not know a %d", a.what, a.Status)
	} else {
		w.spec.saw(in.Route.Operation.OperationID, a)
	}
	return a
}
