package transport

import (
	"bytes"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"hearth/domain"
	"hearth/transport/wire"
)

// queued is an object that waits to be written.
type queued struct {
	object []byte
	push   bool          // nobody asked for it: bounded, and let go when there are too many
	sub    *subscription // that a pushed message comes from; nil for other events
	board  bool          // a ranking: a newer one takes its place
}

// slowAgain is the time in which a second overflow means that the reader does not keep up at all.
const slowAgain = 30 * time.Second

// reply queues what the client asked for. It is never dropped: a client that does not read its replies is not
// read either.
func (c *Conn) reply(object []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enqueue(queued{object: object})
}

// push queues an event without a seq. When the reader is too slow for it, it is not told.
func (c *Conn) push(event []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enqueuePush(queued{object: event, push: true})
}

// pushFrom queues a message of a subscription, unless that was lost to a slow reader.
func (c *Conn) pushFrom(sub *subscription, event []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !sub.lost {
		c.enqueuePush(queued{object: event, push: true, sub: sub})
	}
}

// pushEvent queues an event without a seq of a subscription, likewise.
func (c *Conn) pushEvent(sub *subscription, event []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !sub.lost {
		c.enqueuePush(queued{object: event, push: true})
	}
}

// showBoard queues a ranking, in the place of one that still waits. So at most one does, and none counts against the reader.
func (c *Conn) showBoard(event []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.queue {
		if q := &c.queue[i]; q.board {
			c.queuedBytes += len(event) - len(q.object)
			q.object = event
			return
		}
	}
	c.enqueue(queued{object: event, board: true})
}

// keep makes what is queued of a subscription as safe as the reply that replaces it: what comes behind the reply
// follows on it. sub may be nil.
func (c *Conn) keep(sub *subscription) {
	if sub == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.queue {
		if q := &c.queue[i]; q.sub == sub {
			q.push, q.sub = false, nil
			c.pushes--
			c.pushedBytes -= len(q.object)
		}
	}
}

// lose tells the client to subscribe again.
func (c *Conn) lose(sub *subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !sub.lost {
		sub.lost = true
		c.enqueue(queued{object: wire.AppendResync(nil, []wire.Resync{{Group: sub.group}})})
	}
}

// forgo gives up a subscription that the client does not want any more: what of it is let go is not told.
func (c *Conn) forgo(sub *subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sub.lost = true
}

// enqueuePush is enqueue for what is bounded; c.mu is held.
func (c *Conn) enqueuePush(q queued) {
	if c.pushes >= c.server.cfg.QueueFrames || c.pushes > 0 && c.pushedBytes+len(q.object) > c.server.cfg.QueueBytes {
		c.overflow(q)
		return
	}
	c.pushes++
	c.pushedBytes += len(q.object)
	c.enqueue(q)
}

// overflow lets the pushes in the queue go, and the one that was too many, and tells which groups to subscribe to
// again. A reader that cannot keep up even so is closed, not waited for. c.mu is held.
func (c *Conn) overflow(last queued) {
	if c.gone || c.closing != 0 {
		return
	}
	now := time.Now()
	if !c.overflowed.IsZero() && now.Sub(c.overflowed) < slowAgain {
		c.server.metrics.slow.WithLabelValues("close").Inc()
		c.endLocked(domain.CloseTooSlow, "too slow")
		return
	}
	c.server.metrics.slow.WithLabelValues("resync").Inc()
	c.overflowed = now
	var lost []wire.Resync
	kept := make([]queued, 0, len(c.queue)-c.pushes+1)
	for _, q := range append(c.queue, last) {
		switch {
		case !q.push:
			kept = append(kept, q)
		case q.sub != nil && !q.sub.lost:
			q.sub.lost = true
			lost = append(lost, wire.Resync{Group: q.sub.group})
		}
	}
	c.queue = kept
	c.queuedBytes -= c.pushedBytes
	c.pushes, c.pushedBytes = 0, 0
	if len(lost) > 0 {
		c.enqueue(queued{object: wire.AppendResync(nil, lost)})
	}
}

// enqueue adds to the queue and sees that somebody writes it; c.mu is held.
func (c *Conn) enqueue(q queued) {
	if c.gone || c.closing != 0 {
		return
	}
	c.queue = append(c.queue, q)
	c.queuedBytes += len(q.object)
	c.startWriting()
}

// clearQueue empties the queue; c.mu is held.
func (c *Conn) clearQueue() {
	c.queue, c.queuedBytes, c.pushes, c.pushedBytes = nil, 0, 0, 0
}

func (c *Conn) startWriting() {
	if c.writing || !c.open || c.gone {
		return
	}
	c.writing = true
	c.work.Go(c.write)
}

// write sends what is queued, several objects in a frame, until nothing is left.
func (c *Conn) write() {
	for {
		c.mu.Lock()
		batch := c.queue
		c.clearQueue()
		c.room.Broadcast()
		if len(batch) == 0 || c.gone {
			c.writing = false
			code, reason := c.closing, c.reason
			c.mu.Unlock()
			if code != 0 {
				c.sendClose(code, reason)
			}
			return
		}
		c.mu.Unlock()
		if err := c.writeBatch(batch); err != nil {
			c.abort()
		}
	}
}

var batchBuffers = sync.Pool{New: func() any { return bytes.NewBuffer(make([]byte, 0, writeBatch)) }}

// writeBatch writes objects, several in a frame. A stuck reader holds one buffer of it.
func (c *Conn) writeBatch(batch []queued) error {
	if len(batch) == 1 {
		return c.writeFrame(batch[0].object)
	}
	buf, _ := batchBuffers.Get().(*bytes.Buffer)
	defer batchBuffers.Put(buf)
	buf.Reset()
	for _, q := range batch {
		if buf.Len()+1+len(q.object) > writeBatch {
			if err := c.flush(buf); err != nil {
				return err
			}
		}
		if len(q.object) > writeBatch {
			if err := c.writeFrame(q.object); err != nil {
				return err
			}
			continue
		}
		if buf.Len() > 0 {
			buf.WriteByte('\n')
		}
		buf.Write(q.object)
	}
	return c.flush(buf)
}

// flush writes what is in the buffer, if anything.
func (c *Conn) flush(buf *bytes.Buffer) error {
	if buf.Len() == 0 {
		return nil
	}
	defer buf.Reset()
	return c.writeFrame(buf.Bytes())
}

func (c *Conn) writeFrame(frame []byte) error {
	c.server.metrics.sent(len(frame))
	_ = c.ws.SetWriteDeadline(time.Now().Add(c.server.cfg.WriteTimeout))
	return c.ws.WriteMessage(websocket.TextMessage, frame)
}

// awaitRoom holds back who asks for replies while the client does not read them, or more than so many tasks wait.
func (c *Conn) awaitRoom(tasks int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for (c.queuedBytes > c.server.cfg.QueueBytes || len(c.tasks) > tasks) && !c.gone {
		c.room.Wait()
	}
}
