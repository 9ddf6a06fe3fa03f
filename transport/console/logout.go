package console

import (
	"context"
	"maps"
	"net/http"
	"sync"
	"time"
)

// Revocations is how instances tell each other of sessions that were logged out.
type Revocations interface {
	// RevokeConsoleSession lets all instances refuse a session for as long as its cookie would have been good.
	RevokeConsoleSession(ctx context.Context, id string, left time.Duration) error
	// IsConsoleSessionRevoked tells whether one of them has.
	IsConsoleSessionRevoked(ctx context.Context, id string) (bool, error)
}

// revocations are the sessions that this instance knows to be logged out, so that they stay it while Redis is away.
type revocations struct {
	mu    sync.Mutex           // guards until
	until map[string]time.Time // the end of each session
}

func (r *revocations) add(s session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(r.until, func(_ string, ends time.Time) bool { return now.After(ends) })
	r.until[s.id] = s.ends
}

func (r *revocations) has(s session) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, has := r.until[s.id]
	return has
}

// logout ends the session on every instance, with its streams, and takes the cookie away. Without Redis this instance alone
// refuses it, which is logged.
func (c *Console) logout(w http.ResponseWriter, r *http.Request) error {
	if cookie, err := r.Cookie(cookieName); err == nil {
		if s, ok := c.keys.open(cookie.Value, time.Now()); ok {
			c.end(r.Context(), s)
		}
	}
	http.SetCookie(w, c.keys.cookie(r, session{}))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *Console) end(ctx context.Context, s session) {
	c.revoked.add(s)
	c.streams.endOf(s.owner())
	c.audit(s).Msg("console logout")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout) // whoever leaves may not wait for it
	defer cancel()
	if err := c.Redis.RevokeConsoleSession(ctx, s.id, time.Until(s.ends)); err != nil {
		c.Log.Warn().Err(err).Str("key", s.key).Msg("console logout not told to the other instances")
	}
}

// isLoggedOut asks Redis, unless that is away: then this instance's own knowledge has to do.
func (c *Console) isLoggedOut(ctx context.Context, s session) bool {
	if s.id == "" {
		return false
	}
	if c.revoked.has(s) {
		return true
	}
	if !c.store("redis").OK {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, awayTimeout)
	defer cancel()
	out, err := c.Redis.IsConsoleSessionRevoked(ctx, s.id)
	if err != nil || !out {
		return false
	}
	c.revoked.add(s)
	return true
}
