package bench_test

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/gorilla/websocket"
)

// stored is a message that can be read again.
type stored struct {
	seq    uint64
	object string
}

// say is what an app server sends.
func (f *fake) say(w http.ResponseWriter, r *http.Request) {
	var in struct {
		From string
		Body []struct{ Type, Text string }
	}
	if !f.accept(w, r, &in) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.send(nil, f.groups[r.PathValue("group")], sent{Group: r.PathValue("group"), User: in.From}, in.Body[0].Text)
	w.WriteHeader(http.StatusCreated)
}

// answerPage answers pull, subscribe and sync.
func (f *fake) answerPage(ws *websocket.Conn, g *fakeGroup, in request) {
	after := in.Groups[g.id]
	if in.AfterSeq != nil {
		after = *in.AfterSeq
	}
	objects, holes, more := g.behind(after, in.Limit)
	page := fmt.Sprintf(`{"group":%q,"max_seq":%d,"messages":[%s],"holes":[%s],"more":%v}`,
		g.id, g.seq, strings.Join(objects, ","), strings.Join(holes, ","), more)
	if in.Op == "sync" {
		page = `{"results":[` + page + `]}`
	}
	line := fmt.Sprintf(`{"id":%d,"ok":%s}`, in.ID, page)
	if f.page != nil {
		line = f.page(in.Op, after, line)
	}
	_ = f.write(ws, line)
}

func (g *fakeGroup) behind(after uint64, limit int) (objects, holes []string, more bool) {
	for _, m := range g.stored {
		switch {
		case m.seq <= after:
			continue
		case len(objects) == limit:
			return objects, holes, true
		case m.seq > after+1:
			holes = append(holes, fmt.Sprintf(`{"from":%d,"to":%d,"reason":"lost"}`, after+1, m.seq-1))
		}
		objects, after = append(objects, m.object), m.seq
	}
	return objects, holes, false
}
