package httpapi

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"hearth/domain"
	"hearth/transport/wire"
)

// uploads is what an instance knows of the uploads that it signs and takes.
type uploads struct {
	key    []byte // of the signatures
	rates  *userRates
	coming *coming
}

func newUploads(cfg Uploads) (*uploads, error) {
	key, err := hkdf.Key(sha256.New, cfg.Secret, nil, "hearth upload URLs, version 1", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("derive the key of upload URLs: %w", err)
	}
	return &uploads{
		key:    key,
		rates:  newUserRates(rate.Limit(cfg.Rate), cfg.Burst),
		coming: &coming{limit: cfg.Concurrent, keys: map[string]struct{}{}},
	}, nil
}

// signedPath is the slot's path with everything that was agreed on, and the signature of all of it.
func (u *uploads) signedPath(s UploadSlot) string {
	return wire.UploadPath(s.Key, s.Name) + "?" + u.signedQuery(s)
}

func (u *uploads) signedQuery(s UploadSlot) string {
	return url.Values{
		"content_type": {s.ContentType},
		"bytes":        {strconv.FormatInt(s.Bytes, 10)},
		"expires_ms":   {strconv.FormatInt(s.Expires.UnixMilli(), 10)},
		"signature":    {u.sign(s)},
	}.Encode()
}

// sign covers every part, and where each of them ends.
func (u *uploads) sign(s UploadSlot) string {
	mac := hmac.New(sha256.New, u.key)
	fmt.Fprintf(mac, "PUT %q %q %q %d %d", s.Key, s.Name, s.ContentType, s.Bytes, s.Expires.UnixMilli())
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// slotOf is the slot that a URL was signed for.
func (u *uploads) slotOf(target *url.URL) (UploadSlot, error) {
	key, name, ok := wire.SplitUploadPath(target.Path)
	if !ok {
		return UploadSlot{}, noUpload()
	}
	query, err := url.ParseQuery(target.RawQuery)
	bytes, bytesErr := strconv.ParseInt(query.Get("bytes"), 10, 64)
	expires, expiresErr := strconv.ParseInt(query.Get("expires_ms"), 10, 64)
	s := UploadSlot{Key: key, Name: name, ContentType: query.Get("content_type"), Bytes: bytes, Expires: time.UnixMilli(expires)}
	// The whole query is compared, not only the signature: what else stands in it was not given out here.
	if err != nil || bytesErr != nil || expiresErr != nil || !hmac.Equal([]byte(query.Encode()), []byte(u.signedQuery(s))) {
		return UploadSlot{}, domain.Errorf(domain.CodeForbidden, "this is not an upload_url as it was given out")
	}
	if !time.Now().Before(s.Expires) {
		return UploadSlot{}, domain.Errorf(domain.CodeForbidden, "the upload_url has expired")
	}
	return s, nil
}

func noUpload() error { return domain.Errorf(domain.CodeNotFound, "there is no such upload") }

// coming are the uploads whose bytes are arriving here.
type coming struct {
	limit int

	mu   sync.Mutex // guards keys
	keys map[string]struct{}
}

// enter takes a place; leave gives it back. Of two that come to one key both would find it free, so the second is told to
// come again: either then the first has kept its bytes, or it was a broken connection that nobody had noticed yet.
func (c *coming) enter(key string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.keys[key]; ok {
		return &domain.Error{Code: domain.CodeOverloaded, Message: "the bytes of this upload are on their way already", RetryAfter: time.Second}
	}
	if len(c.keys) >= c.limit {
		return &domain.Error{Code: domain.CodeOverloaded, Message: "too many uploads come at once", RetryAfter: time.Second}
	}
	c.keys[key] = struct{}{}
	return nil
}

func (c *coming) leave(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.keys, key)
}

// userRates bounds how often a user does something, on this instance.
type userRates struct {
	rate  rate.Limit // 0: no limit
	burst int

	mu      sync.Mutex // guards what follows
	buckets map[string]*rate.Limiter
	sweepAt int // number of buckets at which the full ones are forgotten, which say no more than none
}

func newUserRates(limit rate.Limit, burst int) *userRates {
	return &userRates{rate: limit, burst: burst, buckets: map[string]*rate.Limiter{}}
}

// take is 0 when the actor may, else how long he has to wait. App servers always may.
func (r *userRates) take(actor domain.Actor) time.Duration {
	if actor.IsServer() || r.rate == 0 {
		return 0
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	bucket := r.buckets[actor.User]
	if bucket == nil {
		r.sweep(now)
		bucket = rate.NewLimiter(r.rate, r.burst)
		r.buckets[actor.User] = bucket
	}
	if bucket.AllowN(now, 1) {
		return 0
	}
	return time.Duration((1 - bucket.TokensAt(now)) / float64(r.rate) * float64(time.Second))
}

func (r *userRates) sweep(now time.Time) {
	if len(r.buckets) < max(r.sweepAt, 1000) {
		return
	}
	for user, bucket := range r.buckets {
		if bucket.TokensAt(now) >= float64(r.burst) {
			delete(r.buckets, user)
		}
	}
	r.sweepAt = 2 * len(r.buckets)
}
