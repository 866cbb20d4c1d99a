// Styles of all that we add to the viewer.
(function () {
  'use strict';
  const style = document.createElement('style');
  style.textContent = `
    #monai-dgm-status { position: fixed; left: 50%; bottom: 2px; transform: translateX(-50%); z-index: 40;
      max-width: calc(100vw - 16px); overflow: hidden; text-overflow: ellipsis; padding: 1px 12px; border-radius: 4px;
      background: rgba(9, 12, 41, 0.85); color: #dfe4ff; font: 12px/18px Inter, Arial, sans-serif; pointer-events: none;
      white-space: nowrap; }
    #monai-dgm-status[data-state="no model"] { color: #ffb35c; }
    #monai-dgm-status[data-state="computing"] { color: #8fd3ff; }
    canvas.monai-dgm-layer { position: absolute; left: 0; top: 0; max-width: none; transform-origin: 0 0;
      pointer-events: none; }

    .monai-dgm-panel { height: 100%; overflow-y: auto; padding: 8px 10px 40px; color: #dfe4ff;
      font: 13px/19px Inter, Arial, sans-serif; }
    .monai-dgm-panel h3 { margin: 12px 0 4px; color: #8fd3ff; font-size: 12px; text-transform: uppercase;
      letter-spacing: 0.06em; }
    .monai-dgm-panel section:first-child h3 { margin-top: 0; }
    .monai-dgm-panel p { margin: 0 0 4px; }
    .monai-dgm-panel .own { color: #60e68c; }
    .monai-dgm-panel .unsaved { color: #ffb35c; }
    .monai-dgm-panel .remark { padding: 4px 8px; border-left: 3px solid #ffb35c; background: rgba(255, 179, 92, 0.12);
      color: #ffcf99; }
    .monai-dgm-panel .bar { height: 6px; margin: 2px 0 6px; border-radius: 3px; background: #2a2f55; }
    .monai-dgm-panel .bar i { display: block; height: 6px; border-radius: 3px; background: #ffb35c; }
    .monai-dgm-panel dl { display: grid; grid-template-columns: 1fr auto; gap: 0 8px; margin: 0; }
    .monai-dgm-panel dd { margin: 0; text-align: right; font-variant-numeric: tabular-nums; }
    .monai-dgm-panel .buttons { display: grid; grid-template-columns: 1fr 1fr; gap: 5px; }
    .monai-dgm-panel label { display: grid; grid-template-columns: 68px 1fr 36px; gap: 6px; align-items: center; }
    .monai-dgm-panel input[type=range] { width: 100%; accent-color: #5acce6; }
    .monai-dgm-panel .legend { height: 10px; margin-top: 4px; border-radius: 2px; }
    .monai-dgm-panel .scale { display: flex; justify-content: space-between; font-size: 11px; color: #aab2d8; }

    .monai-dgm-panel button, #monai-dgm-dialog button { min-height: 28px; padding: 2px 8px; border: 1px solid #3a4178;
      border-radius: 4px; background: #1b2050; color: #eef1ff; font: inherit; cursor: pointer; text-align: left; }
    .monai-dgm-panel button:hover, #monai-dgm-dialog button:hover { background: #2a3170; }
    .monai-dgm-panel button:focus-visible, #monai-dgm-dialog button:focus-visible { outline: 2px solid #5acce6; }
    .monai-dgm-panel button.main { background: #1b5f8a; border-color: #348fc2; }
    .monai-dgm-panel button.on { background: #5a4310; border-color: #ffb35c; }
    .monai-dgm-panel button:disabled { opacity: 0.45; cursor: default; }
    .monai-dgm-panel kbd, #monai-dgm-dialog kbd { float: right; margin-left: 6px; padding: 0 5px; border-radius: 3px;
      background: rgba(255, 255, 255, 0.12); font: 11px/18px Inter, Arial, sans-serif; }

    #monai-dgm-dialog { position: fixed; inset: 0; z-index: 1000; display: flex; align-items: center;
      justify-content: center; background: rgba(0, 0, 0, 0.55); color: #dfe4ff; font: 13px/20px Inter, Arial, sans-serif; }
    #monai-dgm-dialog > div { width: 480px; max-width: 94vw; max-height: 90vh; overflow: auto; padding: 14px 18px;
      border: 1px solid #3a4178; border-radius: 8px; background: #0d1136; }
    #monai-dgm-dialog > div.wide { width: 1080px; }
    #monai-dgm-dialog header { display: flex; justify-content: space-between; align-items: center; margin-bottom: 8px; }
    #monai-dgm-dialog h2 { margin: 0; font-size: 16px; color: #fff; }
    #monai-dgm-dialog footer { display: flex; gap: 8px; margin-top: 14px; }
    #monai-dgm-dialog table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
    #monai-dgm-dialog th, #monai-dgm-dialog td { padding: 3px 8px; border-bottom: 1px solid #232960; text-align: left;
      vertical-align: top; }
    #monai-dgm-dialog th button { padding: 0; border: 0; background: none; color: #8fd3ff; font-weight: 600; }
    #monai-dgm-dialog tbody tr[data-study] { cursor: pointer; }
    #monai-dgm-dialog tbody tr[data-study]:hover { background: #1b2050; }
    #monai-dgm-dialog [data-cy="monaiDgm-worklist"] { max-height: 60vh; overflow: auto; }
    #monai-dgm-dialog th, #monai-dgm-dialog td:first-child { white-space: nowrap; }
    #monai-dgm-dialog .remark { color: #ffcf99; }
    #monai-dgm-dialog select, #monai-dgm-dialog input { padding: 3px 6px; border: 1px solid #3a4178; border-radius: 4px;
      background: #14183f; color: #eef1ff; font: inherit; }
    #monai-dgm-dialog progress { width: 100%; accent-color: #5acce6; }
    [data-cy="TrackballRotate"], [data-cy="Crosshairs"] { display: none; } /* of volumes */`;
  document.head.append(style);
})();
