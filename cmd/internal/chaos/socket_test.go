package chaos

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// fields are the members of a request.
type fields map[string]any

// frame is an object that the server writes, with the members that the clients here look at.
type frame struct {
	ID    *int64          `json:"id"`
	OK    json.RawMessage `json:"ok"`
	Error *struct {
		Code      string `json:"code"`
		Retryable bool   `json:"retryable"`
	} `json:"error"`
	Event   string `json:"event"`
	Group   string `json:"group"`
	Seq     int64  `json:"seq"`
	PrevSeq int64  `json:"prev_seq"`
	Body    body   `json:"body"`
	Groups  []struct {
		Group    string `json:"group"`
		AfterSeq *int64 `json:"after_seq"`
	} `json:"groups"`
}

// body is that of a message; its text names the message, also where it has no client_id.
type body []struct {
	Text string `json:"text"`
}

const words = "words of "

func (b body) id() string {
	if len(b) != 1 {
		return ""
	}
	return strings.TrimPrefix(b[0].Text, words)
}

// page is the ok of subscribe and pull, and a result of sync.
type page struct {
	Group    string `json:"group"`
	MaxSeq   int64  `json:"max_seq"`
	ReadSeq  int64  `json:"read_seq"`
	Unread   int64  `json:"unread"`
	More     bool   `json:"more"`
	Messages []struct {
		Seq  int64 `json:"seq"`
		Body body  `json:"body"`
	} `json:"messages"`
	Holes []struct {
		From int64 `json:"from"`
		To   int64 `json:"to"`
	} `json:"holes"`
	Error *struct {
		Code string `json:"code"`
	} `json:"error"`
}

// conns numbers the connections of a process.
var conns atomic.Int64

// socket is one WebSocket. What the server writes comes out of frames, which is closed at the end. One goroutine writes.
type socket struct {
	ws     *websocket.Conn
	conn   int
	frames chan []byte
	done   chan struct{} // closed by close: nobody takes frames any more
	nextID int64
}

const dialTimeout = 2 * time.Second

// dial connects a user; deaf skips pushed messages.
func dial(url, user string, deaf bool) (*socket, error) {
	dialer := websocket.Dialer{HandshakeTimeout: dialTimeout, Subprotocols: []string{"hearth.v1"}}
	ws, _, err := dialer.Dial(url, http.Header{"Authorization": {"Bearer " + token(user)}})
	if err != nil {
		return nil, err
	}
	s := &socket{ws: ws, conn: int(conns.Add(1)), frames: make(chan []byte, 1024), done: make(chan struct{})}
	go s.read(deaf)
	return s, nil
}

var pushedMessage = []byte(`{"event":"message"`)

func (s *socket) read(deaf bool) {
	defer close(s.frames)
	for {
		_, data, err := s.ws.ReadMessage()
		if err != nil {
			return
		}
		for line := range bytes.SplitSeq(data, []byte{'\n'}) {
			if deaf && bytes.HasPrefix(line, pushedMessage) {
				continue
			}
			select {
			case s.frames <- line:
			case <-s.done:
				return
			}
		}
	}
}

// close cuts the connection and waits for its reader.
func (s *socket) close() {
	close(s.done)
	_ = s.ws.Close() // perhaps it was not open any more
	for range s.frames {
	}
}

// ask writes a request and returns its id.
func (s *socket) ask(request fields) (id int64, err error) {
	s.nextID++
	request["id"] = s.nextID
	encoded, err := json.Marshal(request)
	if err != nil {
		return 0, err
	}
	_ = s.ws.SetWriteDeadline(time.Now().Add(dialTimeout))
	return s.nextID, s.ws.WriteMessage(websocket.TextMessage, encoded)
}

// answer waits for the results of a sync.
func (s *socket) answer(id int64) ([]page, error) {
	timeout := time.After(answerTimeout)
	for {
		select {
		case line, ok := <-s.frames:
			var f frame
			switch {
			case !ok:
				return nil, errors.New("the connection ended")
			case json.Unmarshal(line, &f) != nil, f.ID == nil, *f.ID != id:
				continue
			case f.Error != nil:
				return nil, errors.New(f.Error.Code)
			}
			var answer struct{ Results []page }
			return answer.Results, json.Unmarshal(f.OK, &answer)
		case <-timeout:
			return nil, errors.New("no answer")
		}
	}
}
