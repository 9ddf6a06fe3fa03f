package console

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	strictjson "github.com/go-json-experiment/json"
	"github.com/rs/zerolog"

	"hearth/domain"
	"hearth/transport/httpapi"
	"hearth/transport/pages"
	"hearth/transport/wire"
)

const (
	maxRequestBytes = 64 << 10
	readTimeout     = 3 * time.Second // of the stores, for one answer
)

// Fleet is what the instances tell of themselves.
type Fleet interface {
	// Fleet is what the living ones said last, by name.
	Fleet(ctx context.Context) ([]domain.InstanceStatus, error)
	// FleetSince is all that instances said since then, dead ones too, each one's by time.
	FleetSince(ctx context.Context, sinceMS int64) ([][]domain.InstanceStatus, error)
}

// Redis is what the console asks Redis for.
type Redis interface {
	Fleet
	domain.RateCache
	domain.Viewers
	Revocations
}

// Clock tells the time by which messages are stamped.
type Clock interface{ NowMS() int64 }

// Ranking lists groups by heat.
type Ranking interface {
	Page(ctx context.Context, actor domain.Actor, q domain.HotQuery) (*domain.HotPage, error)
}

// Health is what an instance knows of the stores it stands on.
type Health interface {
	// CheckNow is what a check was last: met or not, when it was met (zero: never), and what is to be said about it.
	CheckNow(name string) (ok bool, met time.Time, detail string)
}

// Inspector shows what there is of a group or a user.
type Inspector interface {
	Group(ctx context.Context, group string) (*domain.GroupInspection, error)
	User(ctx context.Context, user, cursor string) (*domain.UserInspection, error)
}

// Letters lists dead letters and stores them after all.
type Letters interface {
	List(ctx context.Context, q domain.LetterQuery) ([]domain.DeadLetter, error)
	Retry(ctx context.Context, letters []domain.LetterID, told func(domain.LetterResult)) error
	RetryAll(ctx context.Context, group string, told func(domain.LetterResult)) error
}

// History answers pulls.
type History interface {
	Pull(ctx context.Context, actor domain.Actor, q domain.PullQuery) (*domain.Head, domain.Page, error)
	RecallsSince(ctx context.Context, group string, afterMS, upTo int64) ([]domain.Recall, error)
}

// Sends is the path of a message.
type Sends interface {
	Send(d domain.Draft, reply func(domain.Receipt, error), durable func(domain.Accepted))
}

// Recalls is the path of a recall.
type Recalls interface {
	Recall(ctx context.Context, actor domain.Actor, group string, seq int64) error
}

// Config is what the console stands on.
type Config struct {
	// Keys are those of the admins: id → SHA-256 of the key.
	Keys map[string][sha256.Size]byte
	// Secret signs sessions; the same on every instance.
	Secret            []byte
	Instance, Version string
	Settings          []byte // the configuration as it may be shown
	HeatWindow        time.Duration
	Limits            wire.Limits

	Redis     Redis
	MySQL     domain.RateStore
	Own       func() domain.InstanceStatus // of this instance, whether Redis is there or not
	Health    Health
	Clock     Clock
	Ranking   Ranking
	Inspector Inspector
	Letters   Letters
	History   History
	Sends     Sends
	Recalls   Recalls
	Log       zerolog.Logger
}

// Console answers /console and everything below it.
type Console struct {
	Config
	keys    *keyring
	board   *board // the overview
	chart   *board // the rates of all instances
	streams streams
	revoked revocations
	closed  chan struct{}
	closing sync.Once
	handler http.Handler
}

// New makes the console; it starts nothing. It expects whole paths.
func New(cfg Config) *Console {
	c := &Console{
		Config: cfg, keys: newKeyring(cfg.Keys, cfg.Secret),
		closed: make(chan struct{}), revoked: revocations{until: make(map[string]time.Time)},
	}
	c.board, c.chart = newBoard(lookInterval, c.look), newBoard(domain.StatusInterval, c.draw)
	own := http.NewCrossOriginProtection()
	own.SetDenyHandler(c.answer(func(http.ResponseWriter, *http.Request) error {
		return domain.Errorf(domain.CodeForbidden, "another site's page asked for this")
	}))
	c.handler = secured(own.Handler(c.routes()))
	return c
}

// Close ends the streams; requests under way are the HTTP server's to wait for.
func (c *Console) Close() { c.closing.Do(func() { close(c.closed) }) }

func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }

func (c *Console) routes() http.Handler {
	mux := http.NewServeMux()
	for name, file := range pages.Files("console") {
		mux.Handle("GET /console/"+name, file)
		if name == "index.html" {
			mux.Handle("GET /console", file)
			mux.Handle("GET /console/{$}", file)
		}
	}
	mux.Handle("POST /console/api/login", c.answer(c.login))
	mux.Handle("POST /console/api/logout", c.answer(c.logout))
	for pattern, h := range map[string]authorized{
		"GET /console/api/session":                  c.session,
		"GET /console/api/overview":                 c.overview,
		"GET /console/api/events":                   c.events,
		"GET /console/api/rates":                    c.rates,
		"GET /console/api/groups/{group}":           c.inspectGroup,
		"GET /console/api/users/{user}":             c.inspectUser,
		"GET /console/api/groups/{group}/events":    c.roomEvents,
		"POST /console/api/groups/{group}/messages": c.send,
		"POST /console/api/groups/{group}/recall":   c.recall,
		"GET /console/api/dead":                     c.dead,
		"POST /console/api/dead/retry":              c.retryDead,
		"GET /console/api/config":                   c.settings,
	} {
		mux.Handle(pattern, c.authorize(h))
		method, path, _ := strings.Cut(pattern, " ")
		mux.Handle(path, onlyBy(method))
	}
	mux.Handle("/console/api/login", onlyBy(http.MethodPost))
	mux.Handle("/console/api/logout", onlyBy(http.MethodPost))
	mux.Handle("/console/", c.answer(func(http.ResponseWriter, *http.Request) error {
		return domain.Errorf(domain.CodeNotFound, "there is no such page or route")
	}))
	return mux
}

// onlyBy answers a wrong method.
func onlyBy(method string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", method)
		httpapi.WriteMethodNotAllowed(w)
	})
}

// authorized is a handler of somebody who may. It returns its error before it has written anything.
type authorized func(w http.ResponseWriter, r *http.Request, s session) error

func (c *Console) authorize(h authorized) http.Handler {
	return c.answer(func(w http.ResponseWriter, r *http.Request) error {
		s, err := c.keys.authenticate(r)
		if err != nil {
			return err
		}
		if c.isLoggedOut(r.Context(), s) {
			return domain.Errorf(domain.CodeUnauthorized, "the session was logged out, log in again")
		}
		return h(w, r, s)
	})
}

// answer writes the error that a handler returns, and logs what its client is not told.
func (c *Console) answer(h func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		err := h(w, r)
		if err == nil {
			return
		}
		if e := domain.AsError(err); r.Context().Err() == nil && (e.Code == domain.CodeInternal || e.Code == domain.CodeUnavailable) {
			c.Log.Warn().Err(err).Str("path", r.Pattern).Msg("console request failed")
		}
		httpapi.WriteError(w, err)
	})
}

// audit begins the line that tells who has done something.
func (c *Console) audit(s session) *zerolog.Event { return c.Log.Info().Str("key", s.key) }

// securityHeaders let the page load its own files only, and talk to this server only.
var securityHeaders = map[string]string{
	"Content-Security-Policy":      "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
	"Referrer-Policy":              "no-referrer",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
}

func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range securityHeaders {
			w.Header().Set(name, value)
		}
		next.ServeHTTP(w, r)
	})
}

// pathID is an id in the path. "." and ".." come encoded twice, or they would be folders; no id has a %.
func pathID(r *http.Request, name string) string {
	id := r.PathValue(name)
	if decoded, err := url.PathUnescape(id); err == nil {
		return decoded
	}
	return id
}

func writeJSON(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v) // the client may be gone
	return nil
}

// readJSON takes one JSON object with known fields, each once. A form of another site can post text/plain and the like, but
// JSON only after asking.
func readJSON(w http.ResponseWriter, r *http.Request, into any) error {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" || !slices.Contains([]string{"", "utf-8", "UTF-8"}, params["charset"]) {
		return domain.BadField("Content-Type", "must be application/json")
	}
	err = strictjson.UnmarshalRead(http.MaxBytesReader(w, r.Body, maxRequestBytes), into, strictjson.RejectUnknownMembers(true))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return domain.Errorf(domain.CodeTooLarge, "the body may have %d bytes at most", maxRequestBytes)
	case err != nil:
		return domain.Errorf(domain.CodeBadRequest, "the body must be one JSON object with the fields of this route, each once")
	}
	return nil
}
