package deviceapi

import (
	"net/http"
	"strconv"

	"countersign.dev/internal/device"
	"countersign.dev/internal/web"
)

// This file owns what a device sees of its grants and of the other devices of its users.

type application struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// grantView is a grant as its own device sees it. The account is whole: the device acts for the user.
type grantView struct {
	ID          int64       `json:"id"`
	Application application `json:"application"`
	Account     string      `json:"account"`
	Digits      int         `json:"digits"`
	Period      int64       `json:"period"` // seconds
	EnrolledAt  int64       `json:"enrolled_at"`
}

func viewGrant(g device.Grant) grantView {
	return grantView{g.ID, application{g.AppID, g.Application}, g.Account, g.Digits, int64(g.Period), g.CreatedAt.Unix()}
}

// resetView tells that somebody wants the grant's account to begin anew, without this device.
type resetView struct {
	Grant       int64  `json:"grant"`
	Application string `json:"application"`
	Account     string `json:"account"`
	AskedAt     int64  `json:"asked_at"`
	DueAt       int64  `json:"due_at"` // 0 before an operator allowed it
}

func (s *surface) listGrants(w http.ResponseWriter, r *http.Request, d device.Device) error {
	grants, err := s.Devices.Store.Grants(r.Context(), d.ID)
	if err != nil {
		return err
	}
	resets, err := s.Resets.Beside(r.Context(), d)
	if err != nil {
		return err
	}
	type self struct {
		ID       string `json:"id"`
		Name     string `json:"name"`
		Platform string `json:"platform"`
	}
	out := struct {
		Grants     []grantView `json:"grants"`
		Resets     []resetView `json:"resets"`
		Device     self        `json:"device"`
		ServerTime int64       `json:"server_time"` // Unix milliseconds
	}{[]grantView{}, []resetView{}, self{d.ID, d.Name, d.Platform}, s.Now().UnixMilli()}
	for _, g := range grants {
		out.Grants = append(out.Grants, viewGrant(g))
	}
	for _, b := range resets {
		shown := resetView{Grant: b.GrantID, Application: b.Application, Account: b.Account, AskedAt: b.AskedAt.Unix()}
		if !b.DueAt.IsZero() {
			shown.DueAt = b.DueAt.Unix()
		}
		out.Resets = append(out.Resets, shown)
	}
	return web.JSON(w, http.StatusOK, out)
}

func (s *surface) stopReset(w http.ResponseWriter, r *http.Request, d device.Device) error {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return device.ErrGrant
	}
	if err := s.Resets.StopFrom(r.Context(), d, id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *surface) removeGrant(w http.ResponseWriter, r *http.Request, d device.Device) error {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return device.ErrGrant
	}
	if err := s.Devices.RemoveGrant(r.Context(), d, id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// deviceView is a grant of any device of a user that this device acts for.
type deviceView struct {
	Grant       int64       `json:"grant"`
	Application application `json:"application"`
	Account     string      `json:"account"`
	Name        string      `json:"name"`
	Platform    string      `json:"platform"`
	EnrolledAt  int64       `json:"enrolled_at"`
	LastSeenAt  int64       `json:"last_seen_at"`
	This        bool        `json:"this"`
}

func (s *surface) listDevices(w http.ResponseWriter, r *http.Request, d device.Device) error {
	grants, err := s.Devices.Store.GrantsBeside(r.Context(), d.ID)
	if err != nil {
		return err
	}
	out := struct {
		Devices []deviceView `json:"devices"`
	}{[]deviceView{}}
	for _, g := range grants {
		out.Devices = append(out.Devices, deviceView{
			g.ID,
			application{g.AppID, g.Application},
			g.Account, g.Device.Name, g.Device.Platform,
			g.CreatedAt.Unix(), g.Device.SeenAt.Unix(), g.Device.ID == d.ID,
		})
	}
	return web.JSON(w, http.StatusOK, out)
}
