package transport

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/gorilla/websocket"

	"hearth/domain"
	"hearth/transport/wire"
)

// close ends the connection: what is queued, goodbye, the close frame.
func (c *Conn) close(code int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(code, reason)
}

func (c *Conn) endLocked(code int, reason string) {
	if c.closing != 0 || c.gone {
		return
	}
	if code == domain.CloseTooSlow { // it would not get there
		c.clearQueue()
	}
	c.open = true
	if c.leaving != code { // otherwise it is said
		c.queue = append(c.queue, queued{object: goodbye(code, reason)})
	}
	c.closing, c.reason = code, reason
	c.room.Broadcast()
	c.startWriting()
}

// leave ends a connection with which nothing is wrong: goodbye at once, and the close when what the client had on its
// way by then has come and is answered.
func (c *Conn) leave(code int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing != 0 || c.leaving != 0 {
		return
	}
	c.leaving, c.reason = code, reason
	c.enqueue(queued{object: goodbye(code, reason)})
	c.setTimerLocked(closeTimer, leaveGrace, c.leaveNow)
}

// finish is leave for who must not go on: no more frames are taken, but what was taken is answered.
func (c *Conn) finish(code int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing != 0 {
		return
	}
	c.leaving, c.reason, c.deaf = code, reason, true
	c.enqueue(queued{object: goodbye(code, reason)})
	c.setTimerLocked(closeTimer, leaveTimeout, func() { c.close(code, reason) })
	c.endWhenIdle()
}

// leaveNow takes no more frames, and ends the connection when the last answer is queued.
func (c *Conn) leaveNow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing != 0 {
		return
	}
	c.deaf = true
	code, reason := c.leaving, c.reason
	c.setTimerLocked(closeTimer, leaveTimeout, func() { c.close(code, reason) })
	c.endWhenIdle()
}

// endWhenIdle ends a leaving connection once nothing it asked for is under way; c.mu is held.
func (c *Conn) endWhenIdle() {
	if c.deaf && c.sending == 0 && !c.working {
		c.endLocked(c.leaving, c.reason)
	}
}

// goodbye is the event before a close.
func goodbye(code int, reason string) []byte {
	reconnect := time.Duration(0)
	if code < 4500 {
		reconnect = reconnectAfter()
	}
	return wire.AppendGoodbye(nil, code, reason, reconnect)
}

// reconnectAfter differs from client to client, so that they do not come back all at once.
func reconnectAfter() time.Duration {
	return 500*time.Millisecond + rand.N(4500*time.Millisecond)
}

func (c *Conn) sendClose(code int, reason string) {
	c.closeNow(code, reason)
	c.setTimer(closeTimer, closeTimeout, c.abort) // the client's close ends the reader, or this does
}

func (c *Conn) closeNow(code int, reason string) {
	message := websocket.FormatCloseMessage(code, reason)
	_ = c.ws.WriteControl(websocket.CloseMessage, message, time.Now().Add(c.server.cfg.WriteTimeout))
}

func (c *Conn) closeCode() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// isLeaving reports whether the connection's end has begun.
func (c *Conn) isLeaving() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing != 0 || c.leaving != 0
}

// ending reports whether the connection takes nothing new.
func (c *Conn) ending() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing != 0 || c.deaf
}

// abort ends the socket at once.
func (c *Conn) abort() {
	c.mu.Lock()
	c.gone = true
	c.queue = nil
	c.room.Broadcast()
	c.mu.Unlock()
	_ = c.ws.Close()
}

// leaveAll takes the connection out of its feeds.
func (c *Conn) leaveAll() {
	c.mu.Lock()
	feeds := make([]*feed, 0, len(c.feeds))
	groups := make([]string, 0, len(c.feeds))
	for group, f := range c.feeds {
		feeds = append(feeds, f)
		groups = append(groups, group)
	}
	c.feeds = nil
	c.mu.Unlock()
	c.server.boards.drop(c)
	for _, f := range feeds {
		f.remove(c)
	}
	c.server.hub.unfollow(feeds...)
	c.server.hub.remove(c)
	c.server.signOff(context.Background(), c.session(), groups)
}
