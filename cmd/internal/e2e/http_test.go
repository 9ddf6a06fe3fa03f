package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// caller talks HTTP to one instance with one token or key.
type caller struct {
	t     testing.TB
	http  *http.Client
	base  string
	token string
}

// user talks to instance n as a user.
func (s *stack) user(n int, user string) *caller {
	return &caller{s.t, s.http, "http://" + s.instances[n].addr, token(user)}
}

// server talks to instance n as an app server.
func (s *stack) server(n int) *caller {
	return &caller{s.t, s.http, "http://" + s.instances[n].addr, apiKey}
}

// answer is an HTTP answer.
type answer struct {
	t      testing.TB
	what   string
	Status int
	Header http.Header
	Body   []byte
}

// problem is an error answer.
type problem struct {
	Type, Title, Detail, Code string
	Status                    int
	Retryable                 *bool
	Errors                    []struct{ Location, Message string }
}

func (c *caller) get(path string) *answer { c.t.Helper(); return c.do(http.MethodGet, path, nil) }

func (c *caller) delete(path string) *answer { c.t.Helper(); return c.do(http.MethodDelete, path, nil) }

func (c *caller) post(path string, body any) *answer {
	c.t.Helper()
	return c.do(http.MethodPost, path, body)
}

// do sends a request; a body that is a string goes as it is. For the test's own goroutine.
func (c *caller) do(method, path string, body any) *answer {
	c.t.Helper()
	a, err := c.try(method, path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	return a
}

func (c *caller) try(method, path string, body any) (*answer, error) {
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	default:
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(encoded)
	}
	request, err := http.NewRequest(method, c.base+path, r)
	if err != nil {
		return nil, err
	}
	if r != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	return c.send(request)
}

func (c *caller) send(request *http.Request) (*answer, error) {
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", request.Method, request.URL.Path, err)
	}
	return &answer{c.t, request.Method + " " + request.URL.RequestURI(), response.StatusCode, response.Header, content}, nil
}

// ok fails unless the answer has this status, and reads it into out if that is given.
func (a *answer) ok(status int, out any) {
	a.t.Helper()
	if a.Status != status {
		a.t.Fatalf("%s: status: got %d, want %d; %s", a.what, a.Status, status, a.Body)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(a.Body, out); err != nil {
		a.t.Fatalf("%s: %v; %s", a.what, err, a.Body)
	}
}

// refused fails unless the answer is an error of this status, code and, if not "", field.
func (a *answer) refused(status int, code, field string) {
	a.t.Helper()
	var p problem
	if err := json.Unmarshal(a.Body, &p); err != nil {
		a.t.Errorf("%s: got %d %q, want a problem with code %s", a.what, a.Status, a.Body, code)
		return
	}
	locations := make([]string, 0, 1)
	for _, e := range p.Errors {
		locations = append(locations, e.Location)
	}
	switch {
	case a.Status != status || p.Status != status || p.Code != code:
		a.t.Errorf("%s: got %d %s, want %d %s; %s", a.what, a.Status, p.Code, status, code, a.Body)
	case field != "" && !slices.Equal(locations, []string{field}):
		a.t.Errorf("%s: fields: got %q, want %q; %s", a.what, locations, field, a.Body)
	case a.Header.Get("Content-Type") != "application/problem+json":
		a.t.Errorf("%s: content type: got %q, want application/problem+json", a.what, a.Header.Get("Content-Type"))
	case p.Type == "" || p.Title == "" || p.Detail == "" || p.Retryable == nil:
		a.t.Errorf("%s: a field is missing: %s", a.what, a.Body)
	case strings.Contains(string(a.Body), quiet):
		a.t.Errorf("%s: repeats what was sent: %s", a.what, a.Body)
	}
}

func (a *answer) header(name, want string) {
	a.t.Helper()
	if got := a.Header.Get(name); got != want {
		a.t.Errorf("%s: %s: got %q, want %q", a.what, name, got, want)
	}
}

// ready is the body of /readyz.
type ready struct {
	Ready    bool `json:"ready"`
	Degraded bool `json:"degraded"`
	Checks   map[string]struct {
		OK     bool   `json:"ok"`
		AgeMS  int64  `json:"age_ms"`
		Detail string `json:"detail"`
	} `json:"checks"`
}

// readyz asks on a connection of its own, as probes do.
func (i *instance) readyz() (status int, view ready, err error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	response, err := client.Get("http://" + i.addr + "/readyz")
	if err != nil {
		return 0, view, err
	}
	defer response.Body.Close()
	return response.StatusCode, view, json.NewDecoder(response.Body).Decode(&view)
}

// createGroup makes a group by the app server.
func (s *stack) createGroup(kind, group string, members ...string) {
	s.t.Helper()
	s.server(0).post("/v1/groups", map[string]any{"group": group, "type": kind, "name": group, "members": members}).ok(http.StatusCreated, nil)
}
