package transport

import (
	"errors"
	"math/rand/v2"
	"net"
	"time"

	"github.com/gorilla/websocket"

	"hearth/domain"
	"hearth/transport/auth"
	"hearth/transport/wire"
)

// startTimers starts the pings and the end of the token.
func (c *Conn) startTimers() {
	c.setTimer(pingTimer, jitter(c.server.cfg.PingInterval), c.ping)
	c.startExpiry(c.expires)
}

// firstExpiry is when the token ends: at its exp, or for a client that came behind that, within the leeway, at its end.
func (c *Conn) firstExpiry() time.Time {
	if c.claims.Expires.After(c.opened) {
		return c.claims.Expires
	}
	return c.claims.Expires.Add(auth.Leeway)
}

// startExpiry sets the warning before the token's end, and behind it the end.
func (c *Conn) startExpiry(expires time.Time) {
	c.setTimer(expiryTimer, max(0, time.Until(expires)-expiryWarning), func() { c.warnExpiry(expires) })
}

// refresh lets the connection live as long as a newer token of the same user.
func (c *Conn) refresh(r wire.Request) ([]byte, error) {
	var q wire.RefreshRequest
	if err := r.Decode(&q); err != nil {
		return nil, err
	}
	if q.Token == nil {
		return nil, domain.BadField("token", "is required")
	}
	claims, err := c.server.auth.User(*q.Token)
	if err == nil && claims.User != c.claims.User {
		err = domain.Errorf(domain.CodeUnauthorized, "this token is another user's")
	}
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	longer := claims.Expires.After(c.expires)
	if longer {
		c.expires = claims.Expires
	}
	expires := c.expires
	c.mu.Unlock()
	if longer {
		c.startExpiry(expires)
	}
	return wire.AppendRefreshed(nil, r.ID, expires.UnixMilli()), nil
}

// jitter is d ± 10 %.
func jitter(d time.Duration) time.Duration { return d*9/10 + rand.N(d/5+1) }

func (c *Conn) stopTimers() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.timers {
		if t != nil {
			t.Stop()
		}
	}
}

// setTimer restarts a timer unless the connection has ended.
func (c *Conn) setTimer(i int, d time.Duration, f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setTimerLocked(i, d, f)
}

func (c *Conn) setTimerLocked(i int, d time.Duration, f func()) {
	if c.gone {
		return
	}
	if c.timers[i] != nil {
		c.timers[i].Stop()
	}
	c.timers[i] = time.AfterFunc(d, f)
}

func (c *Conn) ping() {
	sent := time.Now()
	err := c.ws.WriteControl(websocket.PingMessage, nil, sent.Add(c.server.cfg.WriteTimeout))
	var timeout net.Error
	if err != nil && !(errors.As(err, &timeout) && timeout.Timeout()) {
		return // the reader learns of it
	}
	c.setTimer(pingTimer, c.server.cfg.PongTimeout, func() { c.checkPong(sent) })
}

func (c *Conn) checkPong(pinged time.Time) {
	if c.heard.Load() < pinged.UnixNano() {
		c.close(domain.CloseNoPong, "no pong")
		return
	}
	c.setTimer(pingTimer, jitter(c.server.cfg.PingInterval)-c.server.cfg.PongTimeout, c.ping)
}

func (c *Conn) warnExpiry(expires time.Time) {
	c.reply(wire.AppendTokenExpiring(nil, expires.UnixMilli()))
	c.setTimer(expiryTimer, max(0, time.Until(expires)), func() { c.expire(expires) })
}

// expire ends the connection unless its token was refreshed meanwhile.
func (c *Conn) expire(expires time.Time) {
	c.mu.Lock()
	now := c.expires
	c.mu.Unlock()
	if now.After(expires) {
		c.startExpiry(now)
		return
	}
	c.close(domain.CloseTokenExpired, "token expired")
}
