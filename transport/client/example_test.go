package client_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/gorilla/websocket"

	"hearth/transport/client"
)

// A client says hello in a room, and reads until it has seen what it said.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(serveExample)) // stands for hearth
	defer server.Close()

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c, err := client.New(client.Config{
		URLs:  []string{server.URL},
		Token: func(context.Context) (string, error) { return "token of ann", nil },
		OnMessage: func(m client.Message) {
			fmt.Printf("%s %d %s: %s\n", m.Group, m.Seq, m.From, m.Text())
			cancel()
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Follow("tea", client.FromHere)
	go func() { _, _ = c.Send(ctx, client.Draft{Group: "tea", Body: client.Text("hello")}) }()
	fmt.Println(c.Run(ctx))
	// Output:
	// tea 1 ann: hello
	// <nil>
}

func serveExample(w http.ResponseWriter, r *http.Request) {
	ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	say := func(format string, args ...any) {
		_ = ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, format, args...))
	}
	say(`{"event":"welcome","user":"ann","ping_interval_ms":25000}`)
	var asked struct {
		ID   int64  `json:"id"`
		Op   string `json:"op"`
		Body any    `json:"body"`
	}
	for subscribed, sent := false, false; ws.ReadJSON(&asked) == nil; {
		switch asked.Op {
		case "subscribe":
			say(`{"id":%d,"ok":{"group":"tea","max_seq":0,"messages":[],"holes":[],"more":false}}`, asked.ID)
			subscribed = true
		case "send":
			say(`{"id":%d,"ok":{"group":"tea","seq":1}}`, asked.ID)
			sent = true
		}
		if subscribed && sent {
			say(`{"event":"message","group":"tea","seq":1,"from":"ann","body":[{"type":"text","text":"hello"}]}`)
		}
	}
}
