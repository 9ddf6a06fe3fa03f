package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"hearth/domain"
	"hearth/transport/httpapi"
	"hearth/transport/pages"
	"hearth/transport/wire"
)

const (
	maxTokenRequestBytes = 4 << 10
	maxNameBytes         = 64
	defaultWindow        = 5 * time.Minute
)

// Config is what the page needs to know.
type Config struct {
	// Sign makes a token for a user; name is for people. It is called concurrently.
	Sign func(user, name string) (token string, expires time.Time, err error)
	// UserPrefix is what the ids of the page's users begin with; others get no token. Empty: any user does.
	UserPrefix string
	// Instances are the base URLs of the servers the page may connect to, such as http://127.0.0.1:8080; the first is
	// the default. The page has to be opened at one of them. Empty: only the one it was opened at, whatever it is called.
	Instances []string
	// Rooms are offered also while they are not hot; the first one is entered by whoever named none.
	Rooms []string
	// Window is that of the heat. Zero: 5 minutes.
	Window time.Duration
	// Weighed says that heat is not the number of people who spoke: the page must not call it that.
	Weighed bool
}

// page is the handler's state; nothing in it changes.
type page struct {
	cfg      Config
	origins  []string // of cfg.Instances, as browsers write them
	security http.Header
}

// Handler serves /demo and everything below it; it expects the whole path. It panics without Sign, or when an
// instance is not an http(s) URL without a path: mistakes of the program, not of its users.
func Handler(cfg Config) http.Handler {
	if cfg.Sign == nil {
		panic("demo: Config.Sign is required")
	}
	if cfg.Window == 0 {
		cfg.Window = defaultWindow
	}
	p := &page{cfg: cfg}
	for _, instance := range cfg.Instances {
		u, err := url.Parse(instance)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.Trim(u.Path, "/") != "" {
			panic(fmt.Sprintf("demo: instance %q is not like http://127.0.0.1:8080", instance))
		}
		p.origins = append(p.origins, u.Scheme+"://"+u.Host)
	}
	p.security = securityHeaders(p.origins)

	mux := http.NewServeMux()
	mux.HandleFunc("GET /demo/config.json", p.serveConfig)
	mux.HandleFunc("POST /demo/token", p.serveToken)
	for name, file := range pages.Files("demo") {
		mux.Handle("GET /demo/"+name, file)
		if name == "index.html" {
			mux.Handle("GET /demo", p.atHome(file))
			mux.Handle("GET /demo/{$}", p.atHome(file))
		}
	}
	return p.secured(withProblems(mux))
}

// withProblems answers what the mux has no handler for as the API does: the mux's own answers are plain text.
func withProblems(mux *http.ServeMux) http.Handler {
	known := func(r *http.Request) bool {
		_, pattern := mux.Handler(r)
		return pattern != ""
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if known(r) {
			mux.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		var allowed []string
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
			other := r.WithContext(r.Context())
			other.Method = method
			if known(other) {
				allowed = append(allowed, method)
			}
		}
		if len(allowed) == 0 {
			httpapi.WriteError(w, domain.Errorf(domain.CodeNotFound, "there is no such page or route"))
			return
		}
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		httpapi.WriteMethodNotAllowed(w)
	})
}

// securityHeaders lets the page load its own files only, and talk to the instances only. Uploads are the server's own, too;
// blob: is what a user is about to send.
func securityHeaders(origins []string) http.Header {
	connect := []string{"'self'"}
	for _, o := range origins {
		connect = append(connect, o, "ws"+strings.TrimPrefix(o, "http"))
	}
	h := http.Header{}
	h.Set("Content-Security-Policy", "default-src 'self'; img-src 'self' blob:; media-src 'self' blob:; connect-src "+
		strings.Join(connect, " ")+"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	return h
}

func (p *page) secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, values := range p.security {
			w.Header()[name] = slices.Clone(values)
		}
		next.ServeHTTP(w, r)
	})
}

// atHome sends who typed localhost to the instance's own address: for a browser they are two origins, and the other
// instances allow the one that is configured.
func (p *page) atHome(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		port, ok := strings.CutPrefix(r.Host, "localhost:")
		for _, o := range p.origins {
			if ok && strings.HasSuffix(o, "://127.0.0.1:"+port) {
				w.Header().Set("Cache-Control", "no-store")
				http.Redirect(w, r, (&url.URL{Scheme: "http", Host: "127.0.0.1:" + port, Path: "/demo", RawQuery: r.URL.RawQuery}).String(), http.StatusFound)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func (p *page) serveConfig(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, struct {
		Instances  []string `json:"instances"`
		Rooms      []string `json:"rooms"`
		WindowMS   int64    `json:"window_ms"`
		Weighed    bool     `json:"weighed"`
		UserPrefix string   `json:"user_prefix"`
	}{append([]string{}, p.origins...), append([]string{}, p.cfg.Rooms...), p.cfg.Window.Milliseconds(), p.cfg.Weighed, p.cfg.UserPrefix})
}

func (p *page) serveToken(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	user, name, err := p.tokenRequest(w, r)
	if err != nil {
		httpapi.WriteError(w, err)
		return
	}
	token, expires, err := p.cfg.Sign(user, name)
	if err != nil {
		httpapi.WriteError(w, fmt.Errorf("sign a token for %s: %w", user, err))
		return
	}
	writeJSON(w, struct {
		Token     string `json:"token"`
		ExpiresMS int64  `json:"expires_ms"`
	}{token, expires.UnixMilli()})
}

func (p *page) tokenRequest(w http.ResponseWriter, r *http.Request) (user, name string, err error) {
	if !p.sameOrigin(r) {
		return "", "", domain.Errorf(domain.CodeForbidden, "tokens are for the demo page, opened at the server's own address")
	}
	// A form of another site can post text/plain and the like, but JSON only after asking (CORS).
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if charset, given := params["charset"]; err != nil || media != "application/json" || given && !strings.EqualFold(charset, "utf-8") {
		return "", "", domain.BadField("Content-Type", "must be application/json in UTF-8")
	}
	var in struct {
		User string `json:"user"`
		Name string `json:"name"`
	}
	if err := readBody(w, r, &in); err != nil {
		return "", "", err
	}
	if err := domain.CheckUser("user", in.User); err != nil {
		return "", "", err
	}
	if !strings.HasPrefix(in.User, p.cfg.UserPrefix) {
		return "", "", &domain.Error{Code: domain.CodeForbidden, Field: "user", Message: "user: tokens are for users whose ids begin with " + p.cfg.UserPrefix}
	}
	if len(in.Name) > maxNameBytes {
		return "", "", domain.TooLarge("name", "at most %d bytes", maxNameBytes)
	}
	if in.Name == "" {
		in.Name = in.User
	}
	return in.User, in.Name, nil
}

// readBody decodes as the API does: errors name the field.
func readBody(w http.ResponseWriter, r *http.Request, into any) error {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxTokenRequestBytes))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return domain.Errorf(domain.CodeTooLarge, "the body may have %d bytes at most", maxTokenRequestBytes)
	case err != nil:
		return domain.Errorf(domain.CodeBadRequest, "the body did not arrive whole")
	}
	return wire.Decode(raw, into)
}

// sameOrigin tells whether the page itself asks. Browsers send Origin with every POST, so none is a no. Where the instances
// are known, the Host must be one of theirs: a name that somebody points at 127.0.0.1 has an Origin and a Host that
// agree, too.
func (p *page) sameOrigin(r *http.Request) bool {
	origin, err := url.Parse(r.Header.Get("Origin"))
	if err != nil || origin.Host == "" || origin.Host != r.Host {
		return false
	}
	return len(p.origins) == 0 || slices.Contains(p.origins, origin.Scheme+"://"+origin.Host)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}
