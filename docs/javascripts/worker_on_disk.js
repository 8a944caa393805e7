/* Browsers start no worker for pages that are opened from the disk, and the site's search is one. There, a hidden frame runs
   the same script instead; the theme looks for the name IFrameWorker and would otherwise fetch such a script from a network. */
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super();
      this.waiting = [];
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.appendChild(frame);
      this.inside = frame.contentWindow;
      this.inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }));
      const script = frame.contentDocument.createElement("script");
      script.src = url;
      script.onload = () => {
        this.isReady = true;
        this.waiting.splice(0).forEach(data => this.postMessage(data));
      };
      frame.contentDocument.body.appendChild(script);
    }
    postMessage(data) {
      if (this.isReady) this.inside.dispatchEvent(new MessageEvent("message", { data }));
      else this.waiting.push(data);
    }
    terminate() { this.inside.frameElement.remove(); }
  };
  window.Worker = window.IFrameWorker;
}
