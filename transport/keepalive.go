package transport

import (
	"errors"
	"math/rand/v2"
	"net"
	"time"

	"github.com/gorilla/websocket"

	"hearth/transport/auth"
	"hearth/transport/wire"
)

// startTimers starts the pings and the end of the token.
func (c *Conn) startTimers() {
	c.setTimer(pingTimer, jitter(c.server.cfg.PingInterval), c.ping)
	c.setTimer(expiryTimer, max(0, time.Until(c.expires())-expiryWarning), c.warnExpiry)
}

// expires is when the token ends: at its exp, or for a client that came behind that, within the leeway, at its end.
func (c *Conn) expires() time.Time {
	if c.claims.Expires.After(c.opened) {
		return c.claims.Expires
	}
	return c.claims.Expires.Add(auth.Leeway)
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
	if !c.gone {
		c.timers[i] = time.AfterFunc(d, f)
	}
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
		c.close(wire.CloseNoPong, "no pong")
		return
	}
	c.setTimer(pingTimer, jitter(c.server.cfg.PingInterval)-c.server.cfg.PongTimeout, c.ping)
}

func (c *Conn) warnExpiry() {
	c.reply(wire.AppendTokenExpiring(nil, c.expires().UnixMilli()))
	c.setTimer(expiryTimer, max(0, time.Until(c.expires())), func() { c.close(wire.CloseTokenExpired, "token expired") })
}
