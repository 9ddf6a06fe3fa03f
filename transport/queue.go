package transport

import (
	"bytes"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"hearth/transport/wire"
)

// reply queues what the client asked for. It is never dropped: a client that does not read its replies is not
// read either.
func (c *Conn) reply(object []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enqueue(object)
}

// push queues what nobody asked for. A reader that is too slow for it is closed, not waited for.
func (c *Conn) push(event []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pushes >= c.server.cfg.QueueFrames || c.pushes > 0 && c.pushedBytes+len(event) > c.server.cfg.QueueBytes {
		c.endLocked(wire.CloseTooSlow, "too slow")
		return
	}
	c.pushes++
	c.pushedBytes += len(event)
	c.enqueue(event)
}

// enqueue adds to the queue and sees that somebody writes it; c.mu is held.
func (c *Conn) enqueue(object []byte) {
	if c.gone || c.closing != 0 {
		return
	}
	c.queue = append(c.queue, object)
	c.queuedBytes += len(object)
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

var batchBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (c *Conn) writeBatch(batch [][]byte) error {
	if len(batch) == 1 {
		return c.writeFrame(batch[0])
	}
	buf, _ := batchBuffers.Get().(*bytes.Buffer)
	defer batchBuffers.Put(buf)
	buf.Reset()
	for i, object := range batch {
		if buf.Len() > 0 {
			buf.WriteByte('\n')
		}
		buf.Write(object)
		if buf.Len() >= writeBatch || i == len(batch)-1 {
			if err := c.writeFrame(buf.Bytes()); err != nil {
				return err
			}
			buf.Reset()
		}
	}
	return nil
}

func (c *Conn) writeFrame(frame []byte) error {
	c.server.metrics.sent(len(frame))
	_ = c.ws.SetWriteDeadline(time.Now().Add(c.server.cfg.WriteTimeout))
	return c.ws.WriteMessage(websocket.TextMessage, frame)
}

// awaitRoom holds back who asks for replies while the client does not read them, or more than so many ops wait.
func (c *Conn) awaitRoom(ops int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for (c.queuedBytes > c.server.cfg.QueueBytes || len(c.ops) > ops) && !c.gone {
		c.room.Wait()
	}
}
