// Package webhook tells the app's back end what happens here, and asks it about messages: signed HTTP requests by the
// Standard Webhooks scheme (PROTOCOL.md §9). Nothing it returns or logs holds what was sent or answered, a secret, or the
// receiver's whole address.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"hearth/domain"
)

// Types of events: the question, and what domain.Hook tells.
const (
	BeforeSend    = "before_send"
	AfterSend     = domain.HookAfterSend
	Recalled      = domain.HookRecalled
	GroupChanged  = domain.HookGroupChanged
	MemberChanged = domain.HookMemberChanged
)

// Headers of a request.
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp"
	HeaderSignature = "webhook-signature"
)

const (
	maxAnswer      = 64 << 10
	defaultTimeout = 10 * time.Second
	dialTimeout    = 5 * time.Second
	idleTimeout    = 90 * time.Second
	idleConns      = 256 // kept open to the receiver: as many as there are questions at once by default
)

// Event is what a receiver is told.
type Event struct {
	ID     string // webhook-id, the same on every retry: receivers know repeats by it. No dots, which the signature is joined by
	Type   string // one of those above: it is a label of metrics, too
	TimeMS int64  // when it happened
	Data   json.RawMessage
}

// Config names a receiver.
type Config struct {
	URL string
	// Secret signs requests, as domain.WebhookKeys reads it. With several, each request carries a signature of each.
	Secret string
	// Timeout bounds a Post from the dial to the last byte of the answer. 0: ten seconds.
	Timeout time.Duration
	// Metrics counts what is posted; clients may share one. nil: nothing is counted.
	Metrics *Metrics
}

// Client posts events to one receiver. It may be used concurrently, and keeps connections open between posts until Close.
type Client struct {
	url     string
	keys    [][]byte
	timeout time.Duration
	http    *http.Client
	metrics *Metrics
}

// New checks the configuration; its errors name no secret and no address.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return nil, errors.New("webhook: the receiver must be an http or https URL")
	}
	keys, err := domain.WebhookKeys(cfg.Secret)
	if err != nil {
		return nil, fmt.Errorf("webhook: the secret: %w", err)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	return &Client{
		url: cfg.URL, keys: keys, timeout: cfg.Timeout, metrics: cfg.Metrics,
		http: &http.Client{
			Transport: &http.Transport{
				Proxy:               http.ProxyFromEnvironment,
				DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
				TLSHandshakeTimeout: dialTimeout,
				ForceAttemptHTTP2:   true, // an own dialer would switch it off
				MaxIdleConns:        idleConns,
				MaxIdleConnsPerHost: idleConns,
				IdleConnTimeout:     idleTimeout,
			},
			// What was signed for one address is not carried to another; a redirect is a status that is not 2xx.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close lets the idle connections go. The client can still be used.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// StatusError is an answer that is not 2xx. What else the receiver said is not kept: it may repeat the message.
type StatusError struct{ Status int }

func (e *StatusError) Error() string {
	return fmt.Sprintf("the receiver answered %d %s", e.Status, http.StatusText(e.Status))
}

// Post sends an event, once, and returns the answer to it, at most its first 64 KiB. Any 2xx is success; another status is
// a StatusError. Any other error means that no answer came, or not all of it: the receiver may have got the event.
func (c *Client) Post(ctx context.Context, e Event) (answer []byte, err error) {
	defer func(started time.Time) { c.metrics.posted(e.Type, started, err) }(time.Now())
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := c.Request(ctx, e)
	if err != nil {
		return nil, err
	}
	_, answer, err = c.Do(req)
	return answer, err
}

// Do sends what Request has made. Its errors are those of Post; status is 0 when there was none.
func (c *Client) Do(req *http.Request) (status int, answer []byte, err error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, withoutURL(err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // also of failures, or the connection would be closed
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return resp.StatusCode, nil, &StatusError{Status: resp.StatusCode}
	}
	if err != nil {
		return resp.StatusCode, nil, fmt.Errorf("read the receiver's answer: %w", err)
	}
	return resp.StatusCode, answer, nil
}

// Request is the signed request that Post would send.
func (c *Client) Request(ctx context.Context, e Event) (*http.Request, error) {
	if e.ID == "" || strings.ContainsAny(e.ID, ". \r\n") {
		return nil, errors.New("webhook: an event needs an id, without dots")
	}
	body, err := e.body()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return nil, withoutURL(err)
	}
	timestamp := strconv.FormatInt(time.Now().Unix(), 10) // of this try: receivers refuse old ones
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "hearth")
	req.Header.Set(HeaderID, e.ID)
	req.Header.Set(HeaderTimestamp, timestamp)
	req.Header.Set(HeaderSignature, sign(c.keys, e.ID, timestamp, body))
	return req, nil
}

// body is the payload that the specification recommends.
func (e *Event) body() ([]byte, error) {
	body := make([]byte, 0, len(e.Data)+96)
	body = append(body, `{"type":"`...)
	body = append(body, e.Type...)
	body = append(body, `","timestamp":"`...)
	body = time.UnixMilli(e.TimeMS).UTC().AppendFormat(body, "2006-01-02T15:04:05.000Z")
	body = append(body, `","data":`...)
	body = append(body, e.Data...)
	body = append(body, '}')
	if !json.Valid(body) {
		return nil, fmt.Errorf("webhook: the data of %s is not JSON", e.Type)
	}
	return body, nil
}

// sign is the value of webhook-signature: one signature for each key, separated by spaces.
func sign(keys [][]byte, id, timestamp string, body []byte) string {
	signatures := make([]string, len(keys))
	for i, key := range keys {
		mac := hmac.New(sha256.New, key)
		_, _ = io.WriteString(mac, id+"."+timestamp+".") // a hash takes everything
		_, _ = mac.Write(body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(signatures, " ")
}

// withoutURL takes the address out of an error of net/http: it may hold a token.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("post to the receiver: %w", err)
}
