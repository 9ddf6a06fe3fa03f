package client

import (
	"encoding/json"
	"errors"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"hearth/transport/wire"
)

const (
	answerTimeout  = 20 * time.Second // the server gives up on a request before that
	welcomeTimeout = 30 * time.Second
	writeTimeout   = 10 * time.Second
	byeTimeout     = time.Second
	maxReadBytes   = 16 << 20 // a page of 200 of the largest messages has 4 MB
)

// conn is one WebSocket.
type conn struct {
	ws      *websocket.Conn
	url     string
	silence time.Duration // after this long without a word the link is dead; read goroutine only
	goodbye goodbye       // read goroutine only

	wake chan struct{} // capacity 1: there is something to write
	done chan struct{} // closed by end

	mu      sync.Mutex // guards what follows; never held while writing or answering
	queue   [][]byte
	waiting map[int64]*question
	lastID  int64
	over    bool
}

// question is a request that was not answered yet.
type question struct {
	answer func(reply) // called once, by whatever goroutine
	timer  *time.Timer
}

// reply is the server's answer; exactly one of the two is set.
type reply struct {
	ok  json.RawMessage
	err *Error
}

// into reads the ok into out, which may be nil.
func (r reply) into(out any) error {
	switch {
	case r.err != nil:
		return r.err
	case out == nil:
		return nil
	}
	return json.Unmarshal(r.ok, out)
}

// goodbye is the event before a close.
type goodbye struct {
	Code             int    `json:"code"`
	Reason           string `json:"reason"`
	ReconnectAfterMS int64  `json:"reconnect_after_ms"`
}

func newConn(ws *websocket.Conn, url string) *conn {
	return &conn{
		ws: ws, url: url, silence: welcomeTimeout,
		wake: make(chan struct{}, 1), done: make(chan struct{}), waiting: make(map[int64]*question),
	}
}

// setPingInterval is the server's word on how often it pings, give or take a tenth.
func (c *conn) setPingInterval(every time.Duration) { c.silence = every*3/2 + 10*time.Second }

// heard gives the server time until its next word. It fails only when reading does.
func (c *conn) heard() { _ = c.ws.SetReadDeadline(time.Now().Add(c.silence)) }

// read hands every object that comes to take, and returns how the connection ended.
func (c *conn) read(take func(object []byte)) loss {
	c.ws.SetReadLimit(maxReadBytes)
	pong := c.ws.PingHandler()
	c.ws.SetPingHandler(func(data string) error { c.heard(); return pong(data) })
	for {
		c.heard()
		_, frame, err := c.ws.ReadMessage()
		if err != nil {
			return c.lossOf(err)
		}
		for _, object := range wire.Objects(frame) {
			take(object)
		}
	}
}

// lossOf prefers what the server said in its goodbye to what the socket says.
func (c *conn) lossOf(err error) loss {
	var closed *websocket.CloseError
	var timeout net.Error
	switch {
	case c.goodbye.Code != 0:
		return loss{code: c.goodbye.Code, reason: c.goodbye.Reason, after: milliseconds(c.goodbye.ReconnectAfterMS), err: err}
	case errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure: // which no server sends
		return loss{code: closed.Code, reason: closed.Text, err: err}
	case errors.As(err, &timeout) && timeout.Timeout():
		return loss{reason: "not a word from the server for " + c.silence.String(), err: err}
	}
	return loss{reason: err.Error(), err: err}
}

// ask queues a request of encodeRequest. answer is called once: with the reply, or with an error when there is none
// in time or the connection ends. It must not block.
func (c *conn) ask(request []byte, answer func(reply)) (id int64) {
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		answer(reply{err: errLost})
		return 0
	}
	defer c.mu.Unlock()
	c.lastID++
	id = c.lastID
	timer := time.AfterFunc(answerTimeout, func() { c.answer(id, reply{err: errNoAnswer}) })
	c.waiting[id] = &question{answer, timer}
	object := make([]byte, 0, len(request)+24)
	object = strconv.AppendInt(append(object, `{"id":`...), id, 10)
	c.queue = append(c.queue, append(append(object, ','), request...))
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return id
}

// answer answers a question, once.
func (c *conn) answer(id int64, r reply) {
	if q := c.forget(id); q != nil {
		q.answer(r)
	}
}

// forget takes a question back.
func (c *conn) forget(id int64) *question {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.waiting[id]
	if q != nil {
		q.timer.Stop()
		delete(c.waiting, id)
	}
	return q
}

// end closes the socket and answers what is not answered.
func (c *conn) end() {
	_ = c.ws.Close()
	c.mu.Lock()
	waiting := c.waiting
	c.over, c.waiting, c.queue = true, nil, nil
	c.mu.Unlock()
	close(c.done)
	for _, q := range waiting {
		q.timer.Stop()
		q.answer(reply{err: errLost})
	}
}

// bye is the polite end from this side.
func (c *conn) bye() {
	farewell := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = c.ws.WriteControl(websocket.CloseMessage, farewell, time.Now().Add(byeTimeout))
	_ = c.ws.Close()
}
